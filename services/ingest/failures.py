"""How the door answers when it cannot accept events."""

import logging

from fastapi import FastAPI, Request, Response

from services.ingest.door import NotYetUnderstood
from services.ingest.late import NotConnected
from services.ingest.limits import Refused
from services.ingest.sealing import NoKeys
from shared.contracts.errors import Unavailable
from shared.http.problems.client import SHARE_USED_UP
from shared.http.problems.server import KEYS_UNAVAILABLE, NOT_ACKNOWLEDGED, TOO_BUSY, WORKERS_OUTDATED
from shared.http.server import Refusal, problem

_SAFE = "Sending the same events again is safe: source and id name an event, and it counts once."

_log = logging.getLogger(__name__)


class NotCounted(Exception):
    """The credential has a quota of events in a day, and the count cannot be asked."""


def add_failures(app: FastAPI) -> None:
    """Answer each failure, and say whether events may have been published."""

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> Response:
        return problem(error.status, error.detail, error.headers)

    @app.exception_handler(Refusal)
    async def refusal(_: Request, error: Refusal) -> Response:
        safe = f". {_SAFE}" if error.kind in (SHARE_USED_UP, TOO_BUSY) else ""
        return problem(error.status_code, f"{error.detail}{safe}", error.headers, kind=error.kind)

    @app.exception_handler(NotConnected)
    async def not_connected(_: Request, __: NotConnected) -> Response:
        detail = f"Kafka cannot be reached, so nothing was published; retry later. {_SAFE}"
        return problem(503, detail, {"Retry-After": "5"}, kind=NOT_ACKNOWLEDGED)

    @app.exception_handler(NotCounted)
    async def not_counted(_: Request, __: NotCounted) -> Response:
        detail = (
            f"the credential's events of today cannot be counted, so nothing was published; retry later. {_SAFE}"
        )
        return problem(503, detail, {"Retry-After": "5"})

    @app.exception_handler(NotYetUnderstood)
    async def not_yet_understood(_: Request, error: NotYetUnderstood) -> Response:
        detail = (
            f"an event needs schema revision {error.revision}, and a worker that knows revision {error.known} is "
            f"running; nothing was published. Upgrade the relations workers, then send the request again. {_SAFE}"
        )
        return problem(503, detail, {"Retry-After": "5"}, kind=WORKERS_OUTDATED)

    @app.exception_handler(NoKeys)
    async def no_keys(_: Request, error: NoKeys) -> Response:
        _log.warning("personal data could not be sealed", extra={"reason": str(error)})
        detail = (
            "the encryption keys of personal data are unavailable, so nothing was published; retry later. Events "
            f"without personal data are accepted. {_SAFE}"
        )
        return problem(503, detail, {"Retry-After": "5"}, kind=KEYS_UNAVAILABLE)

    @app.exception_handler(Unavailable)
    async def unavailable(_: Request, error: Unavailable) -> Response:
        _log.warning("events were not acknowledged", extra={"reason": str(error)})
        detail = f"the brokers did not acknowledge every event, so some may be missing; send all again. {_SAFE}"
        return problem(503, detail, {"Retry-After": "5"}, kind=NOT_ACKNOWLEDGED)
