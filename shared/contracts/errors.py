"""The three outcomes of a failure: a dead letter, a retry of the same slice, or a stop. Pure."""


class InvalidEvent(Exception):
    """This event can never be accepted, however often it is retried. It becomes a dead letter.

    ``reason`` is a short stable code (``invalid``, ``not_json``, ``unknown_type`` …), ``field`` the path of the
    offending field (``data.amount``) or None, ``detail`` a sentence for a person. None of them quotes the value,
    which may be personal.
    """

    def __init__(self, reason: str, detail: str, field: str | None = None) -> None:
        super().__init__(f"{reason}: {detail}" if field is None else f"{reason}: {field}: {detail}")
        self.reason = reason
        self.field = field
        self.detail = detail


class Unavailable(Exception):
    """A server is unavailable, or refuses for now. The same work is retried; nothing is lost or skipped."""


class WrongMasterKey(Unavailable):
    """The stored keys are wrapped with a master key that is not known here. Waiting does not help: an operator has
    to add it. Work is retried all the same, because a file of master keys is read again when it changes."""


class KeysNotRestored(Unavailable):
    """The topic of wrapped keys has keys, and the database none: it is new, or was lost. Waiting does not help: an
    operator has to restore it, because new keys would replace those in the topic."""


class NotPrepared(Unavailable):
    """A database lacks the tables that a request reads. The message is for whoever asked, and says which command
    makes them."""


class NoRoom(Unavailable):
    """A process does not hold what a request is about, for it is too large. The message is for whoever asked.
    Waiting does not help."""


class TooSlow(Unavailable):
    """MongoDB has ended a read at its time limit. It may succeed when it asks for less, or later."""


class Fenced(Exception):
    """Another worker has claimed this partition since. Everything that this one holds of it is void."""


class Stale(Exception):
    """A document has changed since it was read. Read it again and fold the slice again."""


class ConfigurationError(Exception):
    """A setting, a topic or a server is not as Kith needs it, and a retry will not help."""
