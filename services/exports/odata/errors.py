"""The errors of OData requests. Pure."""


class ODataError(Exception):
    """Answered with ``status`` and an OData error body: ``code`` for programs, ``message`` for a person."""

    def __init__(self, status: int, code: str, message: str, target: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.target = target


def bad(target: str, message: str) -> ODataError:
    """The request is wrong."""
    return ODataError(400, "BadRequest", message, target)


def hidden_property(name: str, target: str) -> ODataError:
    """The credential's masks hide it."""
    detail = f"{name} is hidden from this credential, and the answer would reveal it"
    return ODataError(403, "Forbidden", detail, target)


def unsupported(target: str, message: str) -> ODataError:
    """The request is valid, but this service does not support it."""
    return ODataError(501, "NotImplemented", message, target)
