"""How questions fail, as routes document it."""

from shared.http.server import problems

FAILURES = problems(
    {
        403: "The credential lacks a scope, or the consumer has not granted the purpose.",
        422: "A parameter is missing or malformed; detail names it.",
        503: "The graph is not whole yet, or MongoDB is unavailable. Retry after the seconds in Retry-After.",
    }
)
#: Of routes whose parameters may contradict each other.
COMBINED = FAILURES | problems({400: "Parameters cannot be combined, or ask for too much; detail names them."})
