"""Ids for rows without one, made from the content of their events. Pure, apart from the count of equal rows."""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import orjson

from shared.contracts.spelling import nfc


class Identity:
    """Ids from content: a hash of ``name``, the mapped values and, if ``counted``, the number of equal rows
    before.

    So the same rows, in any order and any run, have the same set of ids; unmapped columns do not matter, nor does
    the Unicode form of a text. ``respelled`` counts the rows whose values are not in NFC. Counting takes some 80
    bytes of memory per row.
    """

    def __init__(self, name: str, counted: bool) -> None:
        self._prefix = nfc(name).encode() + b"\0"
        self.respelled = 0
        self._counted = counted
        self._seen: set[int] = set()
        self._repeats: dict[int, int] = {}

    def __call__(self, values: Mapping[str, Any]) -> str:
        written = orjson.dumps(values, option=orjson.OPT_SORT_KEYS)
        if not written.isascii() and (text := nfc(spelled := written.decode())) != spelled:
            self.respelled += 1
            written = text.encode()
        content = self._prefix + written
        digest = blake2b(content, digest_size=16)
        if not self._counted:
            return digest.hexdigest()
        # Half of the hash suffices: rows that share it by chance are numbered, and still differ in content.
        mark = int.from_bytes(digest.digest()[:8])
        if mark not in self._seen:
            self._seen.add(mark)
            return digest.hexdigest()
        repeat = self._repeats[mark] = self._repeats.get(mark, 0) + 1
        return blake2b(content + b"\0%d" % repeat, digest_size=16).hexdigest()
