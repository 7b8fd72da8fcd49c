"""Failures that several routes of privacy have."""

from shared.http.server import problems

FAILURES = problems(
    {
        422: "A parameter or the body is malformed; detail names it.",
        503: "A server is unavailable. Retry after the seconds in Retry-After.",
    }
)
