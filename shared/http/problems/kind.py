"""A kind of problem. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProblemType:
    """A kind of problem. ``happened`` and ``now`` are sentences in Markdown, with no more than inline code."""

    name: str
    status: int
    title: str
    happened: str
    now: str

    @property
    def uri(self) -> str:
        """Relative to the service, so that it leads to a page at every address of the service."""
        return f"/problems/{self.name}"
