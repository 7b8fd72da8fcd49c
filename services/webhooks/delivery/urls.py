"""Which URLs can be those of endpoints. Pure.

What a name resolves to is checked at each attempt (``http_client.py``), whatever its spelling. Here is refused
what could never work, so that whoever creates an endpoint learns it at once.
"""

import re
from collections.abc import Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

from services.webhooks.delivery.addresses import Network, parsed, refusal

PORT = 443
_MOST_CHARACTERS, _MOST_OF_NAME = 2_000, 253
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
#: A network location with an address of IPv6; whether it is one is checked beside it.
_BRACKETS = re.compile(r"\[[0-9a-f:.]+\](?::[0-9]*)?", re.ASCII | re.IGNORECASE)
#: Names that end so are addresses of IPv4 in an unusual spelling for some programs (https://url.spec.whatwg.org,
#: "ends in a number"), such as 2130706433, 0x7f000001 and 127.1.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
#: What ``localhost`` is (RFC 6761 6.3).
_LOOPBACK = [ip_address("127.0.0.1"), ip_address("::1")]
_PERMIT = "KITH_WEBHOOK_ALLOW permits networks of one's own"


def check_url(url: str, allowed: Sequence[Network]) -> str | None:
    """Why ``url`` cannot be an endpoint; None if it can. What its name resolves to is checked at each attempt.
    Plain HTTP and other ports than 443 are for networks in ``allowed``."""
    if len(url) > _MOST_CHARACTERS or not url.isascii() or any(ord(one) <= 32 or ord(one) == 127 for one in url):
        most = f"{_MOST_CHARACTERS:,}"
        return f"must have at most {most} ASCII characters and no spaces; write other letters of a name as xn--…"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"is no URL: {error}"
    if parts.scheme not in ("https", "http") or not parts.hostname or "\\" in url:
        return "must begin with https:// and name a host"
    if parts.username is not None or parts.password is not None:
        return "must not contain a user name or password; use headers"
    if parts.fragment:
        return "must not have a fragment (#…)"
    if set("[]") & set(parts.netloc) and not _BRACKETS.fullmatch(parts.netloc):
        return "must have an address of IPv6, without a zone, in brackets, such as [2001:db8::1]"
    if port == 0:
        return "must not use port 0"
    if not allowed:
        if parts.scheme != "https":
            return "must begin with https://; plain HTTP is for the networks in KITH_WEBHOOK_ALLOW"
        if port not in (None, PORT):
            return f"must use port {PORT}; other ports are for the networks in KITH_WEBHOOK_ALLOW"
    return _host_problem(parts.hostname, allowed)


def _host_problem(host: str, allowed: Sequence[Network]) -> str | None:
    try:
        address = parsed(host)
    except ValueError:
        return _name_problem(host.removesuffix("."), allowed)
    return None if (reason := refusal(address, allowed)) is None else f"{reason}; {_PERMIT}"


def _name_problem(name: str, allowed: Sequence[Network]) -> str | None:
    labels = name.split(".")
    if len(name) > _MOST_OF_NAME or not all(_LABEL.fullmatch(label) for label in labels):
        return "must name a host: parts of at most 63 letters, digits and hyphens, with dots between them"
    if _NUMBER.fullmatch(labels[-1]):
        return "must have an address of IPv4 as four decimal numbers, such as 192.0.2.1"
    if labels[-1] == "localhost" and all(refusal(address, allowed) for address in _LOOPBACK):
        return f"{name} is this machine itself; {_PERMIT}"
    return None
