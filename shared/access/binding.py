"""Binds a request to the purpose of its credential."""

from urllib.parse import parse_qsl

from fastapi import Request

from shared.http.caller import Denied
from shared.http.problems.client import PURPOSE_BOUND
from shared.http.purposes import Decision


def bind(request: Request, decision: Decision, purpose: str) -> None:
    """Make ``request``, which nobody has read yet, one for ``purpose``. Raises Denied (403) for another purpose,
    and for a route that cannot leave out the consumers who have not granted it."""
    if not decision.admits:
        detail = f"this credential is bound to the purpose {purpose}, and this route {decision.why}"
        raise Denied(403, detail, kind=PURPOSE_BOUND)
    given = parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True)
    if any(name == "purpose" and value != purpose for name, value in given):
        detail = f"purpose: this credential is bound to the purpose {purpose}, and the request names another"
        raise Denied(403, detail, kind=PURPOSE_BOUND)
    if decision.asked and not any(name == "purpose" for name, _ in given):
        stated = request.scope["query_string"]
        request.scope["query_string"] = b"&".join(filter(None, (stated, f"purpose={purpose}".encode())))
