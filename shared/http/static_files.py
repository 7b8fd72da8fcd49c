"""Files of a package as answers: kept in memory, compressed once, with an entity tag."""

import gzip
import hashlib
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import Request, Response

_TYPES = {".js": "text/javascript; charset=utf-8", ".html": "text/html; charset=utf-8"}


@dataclass(frozen=True, slots=True)
class File:
    content: bytes
    packed: bytes
    type: str
    tag: str


def file(name: str, content: bytes) -> File:
    """``content`` as a file called ``name``; the suffix determines its type."""
    suffix = name[name.rfind(".") :]
    kind = _TYPES.get(suffix) or mimetypes.types_map.get(suffix, "application/octet-stream")
    return File(content, gzip.compress(content, 9, mtime=0), kind, f'"{hashlib.sha256(content).hexdigest()[:16]}"')


def answer(found: File, request: Request, headers: Mapping[str, str]) -> Response:
    """304 where the browser has the file already, otherwise the file, compressed where the browser accepts it."""
    headers = {**headers, "Cache-Control": "no-cache", "ETag": found.tag, "Vary": "Accept-Encoding"}
    if request.headers.get("if-none-match") == found.tag:
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(found.packed, headers={**headers, "Content-Encoding": "gzip"}, media_type=found.type)
    return Response(found.content, headers=headers, media_type=found.type)
