"""What a shell offers for values: of options whose values are known, and of stacks that run on this machine."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from shared.contracts.errors import ConfigurationError


def among(values: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """Makes an option's ``autocompletion``: those of ``values`` that begin with what is typed. They are only asked
    for when a shell does."""

    def offered(incomplete: str) -> list[str]:
        try:
            return [value for value in values() if value.startswith(incomplete)]
        except (ConfigurationError, OSError):
            return []  # a shell shows what is printed in the middle of the line

    return offered


def stacks() -> list[str]:
    from shared.local.contexts import running

    return [stack.name for stack in running()]


def scopes() -> Iterable[str]:
    from shared.http.caller import SCOPES

    return SCOPES


def datasets() -> Iterator[str]:
    """What `kith export` takes, measures last."""
    from services.analytics.measures.catalogue import MEASURES as OF_ANALYTICS
    from services.exports.datasets import DATASETS
    from services.relations.measures.catalogue import MEASURES as OF_RELATIONS

    yield from DATASETS
    names = {*(each.name for each in OF_ANALYTICS), *(each.name for each in OF_RELATIONS)}
    yield from (f"measures/{name}" for name in sorted(names))


def formats() -> Iterable[str]:
    from services.exports.formats import FORMATS

    return FORMATS


def workers() -> Iterator[str]:
    from shared.contracts.services import SERVICES

    return (f"{service}=" for service in SERVICES)


def stack_of(parameters: Iterable[dict[str, Any]]) -> str | None:
    """The stack that a line names, which is only being typed: the option of a command, or of `kith` itself."""
    for each in parameters:
        if name := each.get("context") or each.get("kith_context"):
            return str(name)
    return None
