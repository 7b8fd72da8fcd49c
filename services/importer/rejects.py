"""The file of rejected rows, with the reasons."""

import json
import os
from datetime import date
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from services.importer.row import BadRow, Row
from shared.contracts.errors import ConfigurationError, InvalidEvent


class Rejects:
    """JSON lines of ``source, number, reason, field, detail, row``; they replace those of an earlier run, or with
    ``added`` follow them.

    The file is created when the first row is rejected. Only its owner may read it: it quotes rows, personal data
    included.
    """

    def __init__(self, path: Path, *, added: bool = False) -> None:
        self._path = path
        self._added = added
        self._file: IO[bytes] | None = None

    def add(self, source: str, row: Row | BadRow, error: InvalidEvent) -> None:
        if self._file is None:
            self._file = self._open()
        line = {
            "source": source,
            "number": row.number,
            "reason": error.reason,
            "field": error.field,
            "detail": error.detail,
            "row": row.fields if isinstance(row, Row) else row.content,
        }
        # Not by orjson: it cannot write large numbers, and a row may be rejected for one.
        text = json.dumps(line, ensure_ascii=False, default=_shown)
        self._file.write(f"{text}\n".encode("utf-8", "backslashreplace"))

    def sync(self) -> None:
        """Wait until the lines are on disk."""
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())

    def _open(self) -> IO[bytes]:
        try:
            self._path.touch(mode=0o600)
            return self._path.open("ab" if self._added else "wb")
        except OSError as error:
            raise ConfigurationError(f"{self._path}: cannot be written: {error.strerror}") from None

    def __enter__(self) -> "Rejects":
        if self._added:
            return self
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise ConfigurationError(f"{self._path}: cannot be replaced: {error.strerror}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()


def _shown(value: Any) -> str:
    return str(value) if isinstance(value, date | Decimal) else repr(value)
