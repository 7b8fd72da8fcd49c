"""A request's body, decompressed within its limits."""

import zlib
from collections.abc import Sequence

from services.ingest.limits import MAX_EVENTS, Refused, too_many_bytes
from services.ingest.modes import Header, only
from shared.contracts.limits import MAX_BODY_BYTES

#: Most members of a gzip body. Each costs as much as some hundred bytes, even an empty one.
MAX_MEMBERS = MAX_EVENTS
_PIECE = 16 * 1024
_GZIP = 16 + zlib.MAX_WBITS
#: What every member begins with.
_MAGIC = b"\x1f\x8b"


def is_gzip(headers: Sequence[Header]) -> bool:
    """Whether the body is compressed with gzip (its old name is x-gzip). Raises Refused (415) when it is encoded
    in another way."""
    coding = (only(headers, "Content-Encoding") or b"identity").strip().lower()
    if coding not in (b"identity", b"gzip", b"x-gzip"):
        raise Refused(415, "the content encoding is not supported; use gzip", {"Accept-Encoding": "gzip"})
    return coding != b"identity"


def inflate(body: bytes) -> bytes:
    """The content of a gzip file: of all its members, one after the other (RFC 1952, section 2.2). Raises Refused
    (400, 413)."""
    content, at = bytearray(), 0
    for _ in range(MAX_MEMBERS):
        if body[at : at + 2] not in (_MAGIC, _MAGIC[:1], b""):
            if at:
                raise Refused(400, "the gzip body is followed by other bytes")
            raise Refused(400, "the body is not gzip, but its Content-Encoding is gzip")
        member = zlib.decompressobj(_GZIP)
        while not member.eof:
            # In pieces, because what follows a member is copied each time.
            if not (piece := body[at : at + _PIECE]):
                raise Refused(400, "the gzip body is truncated")
            try:
                content += member.decompress(piece, MAX_BODY_BYTES + 1 - len(content))
            except zlib.error:
                raise Refused(400, "the gzip body is damaged; nothing of it was accepted") from None
            if len(content) > MAX_BODY_BYTES:
                raise too_many_bytes()
            at += len(piece) - len(member.unused_data)
        # Some writers pad with zeros, which gzip itself ignores.
        if body[at : at + 1] in (b"", b"\0") and not body[at:].strip(b"\0"):
            return bytes(content)
    raise Refused(413, f"a gzip body has at most {MAX_MEMBERS:,} members; compress them together")
