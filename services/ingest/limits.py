"""The limits of a request, and the error for a request that cannot be judged event by event."""

from collections.abc import Mapping

from shared.contracts.limits import MAX_BODY_BYTES

MAX_EVENTS = 2_500


class Refused(Exception):
    """The request as a whole is rejected: an HTTP status, the fault in words, response headers."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers


def too_many_bytes() -> Refused:
    return Refused(
        413, f"a request has at most {MAX_BODY_BYTES} bytes (after decompression); send smaller batches"
    )


def too_many_events() -> Refused:
    return Refused(413, f"a request has at most {MAX_EVENTS:,} events; send smaller batches")
