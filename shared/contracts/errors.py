"""The three outcomes of a failure: a dead letter, a retry of the same slice, or a stop. Pure."""


class InvalidEvent(Exception):
    """This event can never be accepted, however often it is tried: it becomes a dead letter.

    ``reason`` is a short stable code (``invalid``, ``not_json``, ``unknown_type`` …), ``field`` the path of
    the offending field (``data.amount``) or None, ``detail`` a sentence for a person. None of them quotes
    the value, which may be personal.
    """

    def __init__(self, reason: str, detail: str, field: str | None = None) -> None:
        super().__init__(f"{reason}: {detail}" if field is None else f"{reason}: {field}: {detail}")
        self.reason = reason
        self.field = field
        self.detail = detail


class Unavailable(Exception):
    """A server is unavailable or refuses for now. The same work is tried again; nothing is lost or skipped."""


class Fenced(Exception):
    """Another worker has claimed this partition since: whatever this one still holds of it is void."""


class Stale(Exception):
    """A document is not what it was when it was read: read it again and fold the slice anew."""


class ConfigurationError(Exception):
    """A setting, a topic or a server is not as Kith needs it, and trying again will not help."""
