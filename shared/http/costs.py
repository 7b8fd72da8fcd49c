"""How much a route's work costs, declared at the route. Work of one cost waits only for work of the same. Pure."""

from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
_ATTRIBUTE = "kith_cost"


class Cost(Enum):
    """The threads that a route's function works in are named after it."""

    #: One document by its id, or so little.
    DOCUMENT = "document"
    #: A page of a list, which an index gives. What is not declared costs as much.
    LIST = "list"
    #: A query that MongoDB may work on for long: a ranking, a filter on anything, the start of an export.
    QUERY = "query"
    #: A query whose result Python computes with for long, here or in another service.
    MEASURE = "measure"
    #: The same in a process beside this one: a thread only waits for it.
    COMPUTATION = "computation"


#: The cost of a request, given its path's parameters.
CostOf = Callable[[dict[str, Any]], Cost]


def costs(cost: Cost | CostOf) -> Callable[[F], F]:
    """Declares the cost of a route's function. Goes below the route's own decorator."""

    def mark(function: F) -> F:
        setattr(function, _ATTRIBUTE, cost)
        return function

    return mark


def cost_of(function: Any, path: dict[str, Any]) -> Cost:
    found: Cost | CostOf = getattr(function, _ATTRIBUTE, Cost.LIST)
    return found if isinstance(found, Cost) else found(path)
