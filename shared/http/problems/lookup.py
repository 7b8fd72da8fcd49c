"""Every kind of problem, by its name, its status and its URI. Pure."""

from collections.abc import Mapping

from shared.http.problems import client, server
from shared.http.problems.kind import ProblemType

#: Every kind by its name, in the order of their statuses.
TYPES: Mapping[str, ProblemType] = {
    each.name: each
    for module in (client, server)
    for each in vars(module).values()
    if isinstance(each, ProblemType)
}

#: The general kind of a status.
_BY_STATUS: Mapping[int, ProblemType] = {
    each.status: each
    for each in (
        client.BAD_REQUEST,
        client.UNAUTHENTICATED,
        client.FORBIDDEN,
        client.NOT_FOUND,
        client.METHOD_NOT_ALLOWED,
        client.REQUEST_TIMEOUT,
        client.CONFLICT,
        client.MOMENT_PASSED,
        client.TOO_LARGE,
        client.UNSUPPORTED_MEDIA_TYPE,
        client.INVALID_PARAMETERS,
        client.RATE_LIMITED,
        client.HEAD_TOO_LARGE,
        server.INTERNAL_ERROR,
        server.NOT_AVAILABLE_HERE,
        server.UNAVAILABLE,
    )
}


def of_status(status: int) -> ProblemType:
    """The kind of a problem without one of its own."""
    return _BY_STATUS.get(status, server.OTHER)


def of_uri(uri: str) -> ProblemType | None:
    """The kind in a problem of another service of Kith; None for an unknown one."""
    return TYPES.get(uri.removeprefix("/problems/"))
