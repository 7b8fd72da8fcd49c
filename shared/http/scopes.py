"""What a route requires of its callers, declared at the route. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from shared.http.caller import ADMIN
from shared.http.purposes import IMPERSONAL, UNDECIDED, Decision

F = TypeVar("F", bound=Callable[..., Any])
_ATTRIBUTE = "kith_need"
_ANY_PARAMETER = "kith_any_parameter"


@dataclass(frozen=True, slots=True)
class Need:
    """``scope`` None: no credential is needed. ``also``: further scopes, for an answer with data of several.
    ``masks_itself``: the route masks hidden fields in its answers. Otherwise that is done for it, in JSON.
    ``purpose``: what it does for credentials that are bound to a purpose."""

    scope: str | None
    also: tuple[str, ...] = ()
    masks_itself: bool = False
    purpose: Decision = UNDECIDED

    @property
    def scopes(self) -> tuple[str, ...]:
        return (*(() if self.scope is None else (self.scope,)), *self.also)


@dataclass(frozen=True, slots=True)
class Scoped:
    """Declares, beside the type of a parameter, the scope that its use needs: what it filters by is data of
    another scope than the route's."""

    scope: str


#: For a route without a declaration: a forgotten one is not open.
UNSAID = Need(ADMIN)


def needs(scope: str, *also: str, masks_itself: bool = False, purpose: Decision = UNDECIDED) -> Callable[[F], F]:
    """Declares the scopes of a route's function, all of which a caller needs, and what it does for callers who are
    bound to a purpose. Goes below the route's own decorator."""

    def mark(function: F) -> F:
        setattr(function, _ATTRIBUTE, Need(scope, also, masks_itself, purpose))
        return function

    return mark


def public(function: F) -> F:
    """Declares that a route needs no credential."""
    setattr(function, _ATTRIBUTE, Need(None, purpose=IMPERSONAL))
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
