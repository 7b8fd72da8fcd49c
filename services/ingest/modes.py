"""The CloudEvents mode and the tenant of a request, read from its headers. Pure."""

import re
from collections.abc import Iterable, Sequence
from enum import Enum

from pydantic import TypeAdapter, ValidationError

from services.ingest.limits import Refused
from shared.contracts.events import Tenant

#: The name in lower case, as in ASGI, and the value.
Header = tuple[bytes, bytes]

STRUCTURED = "application/cloudevents+json"
BATCHED = "application/cloudevents-batch+json"
PLAIN = "application/json"
TENANT_HEADER = "Kith-Tenant"
ATTRIBUTE_PREFIX = b"ce-"
_ACCEPTED = {"Accept-Post": f"{STRUCTURED}, {BATCHED}, {PLAIN}"}

_NAME = re.compile(r"[a-z0-9.+_*/-]{1,100}")
_TENANT: TypeAdapter[str] = TypeAdapter(Tenant)


class Mode(Enum):
    """The three HTTP modes of CloudEvents, and plain JSON."""

    STRUCTURED = STRUCTURED
    BATCHED = BATCHED
    BINARY = "binary"
    PLAIN = PLAIN


def mode_of(headers: Sequence[Header]) -> Mode:
    """The mode, by Content-Type. Raises Refused (400, 415)."""
    stated = only(headers, "Content-Type") or b""
    media, *parameters = (part.strip() for part in stated.decode("latin-1").lower().split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset" and (charset := value.strip(' "')) not in ("utf-8", "utf8", "us-ascii"):
            raise Refused(415, f"the charset {_shown(charset)}is not accepted: JSON is UTF-8", _ACCEPTED)
    if media in (STRUCTURED, BATCHED):
        return Mode(media)
    if media.startswith("application/cloudevents"):
        raise _unsupported(media)
    # Any ce- header means binary mode, so a missing attribute is an error and not another mode.
    if states_attributes(headers):
        if media in ("", PLAIN) or media.endswith("+json"):
            return Mode.BINARY
    elif media == PLAIN:
        return Mode.PLAIN
    raise _unsupported(media)


def states_attributes(headers: Iterable[Header]) -> bool:
    return any(name.lower().startswith(ATTRIBUTE_PREFIX) for name, _ in headers)


def tenant_of(headers: Iterable[Header]) -> str | None:
    """The tenant in the request's header; None without one. Raises Refused (400)."""
    stated = only(headers, TENANT_HEADER)
    if stated is None:
        return None
    try:
        return _TENANT.validate_python(stated.decode("latin-1"))
    except ValidationError:
        raise Refused(400, f"the header {TENANT_HEADER} is not a valid tenant name") from None


def only(headers: Iterable[Header], name: str) -> bytes | None:
    """The value of a header that may appear once. Raises Refused (400) if it has two values."""
    values = {value for key, value in headers if key.lower() == name.lower().encode()}
    if len(values) > 1:
        raise Refused(400, f"the header {name} appears twice with different values")
    return values.pop() if values else None


def _shown(text: str) -> str:
    """A text of a header that is a name, with a blank after it; nothing for any other."""
    return f"{text} " if _NAME.fullmatch(text) else ""


def _unsupported(media: str) -> Refused:
    what = f"the content type {_shown(media)}".rstrip() if media else "a body without a Content-Type"
    return Refused(415, f"{what} is not accepted; these are: {_ACCEPTED['Accept-Post']}", _ACCEPTED)
