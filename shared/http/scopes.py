"""What a route requires of its callers, declared at the route. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from shared.http.caller import ADMIN

F = TypeVar("F", bound=Callable[..., Any])
_ATTRIBUTE = "kith_need"
_ANY_PARAMETER = "kith_any_parameter"


@dataclass(frozen=True, slots=True)
class Need:
    """``scope`` None: no credential is needed. ``masks_itself``: the route masks hidden fields in its answers.
    Otherwise that is done for it, in JSON."""

    scope: str | None
    masks_itself: bool = False


#: For a route without a declaration: a forgotten one is not open.
UNSAID = Need(ADMIN)


def needs(scope: str, *, masks_itself: bool = False) -> Callable[[F], F]:
    """Declares the scope of a route's function. Goes below the route's own decorator."""

    def mark(function: F) -> F:
        setattr(function, _ATTRIBUTE, Need(scope, masks_itself))
        return function

    return mark


def public(function: F) -> F:
    """Declares that a route needs no credential."""
    setattr(function, _ATTRIBUTE, Need(None))
    return function


def need_of(function: Any) -> Need:
    found = getattr(function, _ATTRIBUTE, UNSAID)
    assert isinstance(found, Need)
    return found


def any_parameter(function: F) -> F:
    """Declares that a route checks its query parameters itself. Other routes reject undeclared ones."""
    setattr(function, _ANY_PARAMETER, True)
    return function


def takes_any_parameter(function: Any) -> bool:
    return bool(getattr(function, _ANY_PARAMETER, False))
