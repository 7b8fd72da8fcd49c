"""A request's body, read and decompressed within its limits."""

import asyncio
import zlib
from collections.abc import AsyncIterable, Sequence

from services.ingest.limits import MAX_BODY_BYTES, Refused, too_many_bytes
from services.ingest.modes import Header, only

#: A sender that dawdles holds room that others need.
READ_SECONDS = 30.0
_GZIP = 16 + zlib.MAX_WBITS


def declared_bytes(headers: Sequence[Header]) -> int:
    """The most bytes that the body may turn out to hold. Raises Refused (400, 413, 415)."""
    compressed = is_gzip(headers)
    length = only(headers, "Content-Length")
    if length is not None and not length.isdigit():
        raise Refused(400, "Content-Length is not a number")
    # Compared by its digits first: Python refuses to parse a number of thousands of them.
    if length is not None and (len(length) > 18 or int(length) > MAX_BODY_BYTES):
        raise too_many_bytes()
    return MAX_BODY_BYTES if length is None or compressed else int(length)


def is_gzip(headers: Sequence[Header]) -> bool:
    """Whether the body is compressed with gzip. Raises Refused (415) when it is encoded in another way."""
    coding = (only(headers, "Content-Encoding") or b"identity").strip().lower()
    if coding not in (b"identity", b"gzip"):
        raise Refused(415, "of content encodings only gzip is understood", {"Accept-Encoding": "gzip"})
    return coding == b"gzip"


async def read(stream: AsyncIterable[bytes], headers: Sequence[Header]) -> bytes:
    """The decompressed body. Raises Refused (400, 408, 413, 415)."""
    body = bytearray()
    try:
        async with asyncio.timeout(READ_SECONDS):
            async for chunk in stream:
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise too_many_bytes()
    except TimeoutError:
        raise Refused(408, f"the body did not arrive within {READ_SECONDS:g} s") from None
    return inflate(bytes(body)) if is_gzip(headers) else bytes(body)


def inflate(body: bytes) -> bytes:
    """The content of a gzip file with one member. Raises Refused (400, 413)."""
    member = zlib.decompressobj(_GZIP)
    try:
        content = member.decompress(body, MAX_BODY_BYTES + 1)
    except zlib.error:
        raise Refused(400, "the body is not gzip, as its Content-Encoding says") from None
    if len(content) > MAX_BODY_BYTES:
        raise too_many_bytes()
    if not member.eof:
        raise Refused(400, "the gzip body ends early")
    if member.unused_data:
        raise Refused(400, "something follows the end of the gzip body")
    return content
