"""What a route asks of its callers, said where the route is. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from shared.http.caller import ADMIN

F = TypeVar("F", bound=Callable[..., Any])
_ATTRIBUTE = "kith_need"
_ANY_PARAMETER = "kith_any_parameter"


@dataclass(frozen=True, slots=True)
class Need:
    """``scope`` None: anyone may ask. ``masks_itself``: the route hides the caller's masked fields in what it
    answers, which is done for it otherwise, in JSON."""

    scope: str | None
    masks_itself: bool = False


#: For a route that says nothing: it is not open by having been forgotten.
UNSAID = Need(ADMIN)


def needs(scope: str, *, masks_itself: bool = False) -> Callable[[F], F]:
    """Decorates a route's function, below the route's own decorator."""

    def mark(function: F) -> F:
        setattr(function, _ATTRIBUTE, Need(scope, masks_itself))
        return function

    return mark


def public(function: F) -> F:
    """Decorates the function of a route that asks for no credential."""
    setattr(function, _ATTRIBUTE, Need(None))
    return function


def need_of(function: Any) -> Need:
    found = getattr(function, _ATTRIBUTE, UNSAID)
    assert isinstance(found, Need)
    return found


def any_parameter(function: F) -> F:
    """Decorates the function of a route that checks the parameters of its query itself. Every other route refuses
    those that it does not declare."""
    setattr(function, _ANY_PARAMETER, True)
    return function


def takes_any_parameter(function: Any) -> bool:
    return bool(getattr(function, _ANY_PARAMETER, False))
