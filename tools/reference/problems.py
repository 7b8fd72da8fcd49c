"""Every kind of problem, for the page *Errors*."""

from shared.http.problems.lookup import TYPES
from tools.reference.markdown import code


def problems_part() -> str:
    """A section for each kind: its status, what happened, what to do now. The headings are the names."""
    lines: list[str] = []
    for kind in TYPES.values():
        status = f"Status {kind.status}. " if kind.status else ""
        lines += [
            f"### {kind.title} {{ #{kind.name} }}",
            "",
            f"{status}`type` is {code(kind.uri)}.",
            "",
            f"**What happened.** {kind.happened}",
            "",
            f"**What to do now.** {kind.now}",
            "",
        ]
    return "\n".join(lines)
