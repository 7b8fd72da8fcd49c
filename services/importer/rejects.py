"""The file of rejected rows, with the reasons."""

import fcntl
import json
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import date
from decimal import Decimal
from glob import escape
from pathlib import Path
from tempfile import mkstemp
from types import TracebackType
from typing import IO, Any

from services.importer.row import BadRow, Row
from shared.contracts.errors import ConfigurationError, InvalidEvent
from shared.local.private import private_file

_STREAM = re.compile(r"/dev/(?:fd/(\d+)|std(out|err))|/proc/self/fd/(\d+)")


class Rejects:
    """JSON lines of ``source, number, reason, field, detail, row``; they replace those of an earlier run at the
    end, or with ``added`` follow them.

    A file is created when the first row is rejected. Only its owner may read it: it quotes rows, personal data
    included. After an error without a rejected row, the file of the earlier run is left. What is no file, as
    /dev/null, is written into. A run that is killed leaves a hidden draft, which the next one removes.
    """

    def __init__(self, path: Path, *, added: bool = False) -> None:
        # Not a link is replaced, but the file that it names.
        self._path = path if _stream(path) is not None else _resolved(path)
        self._added = added
        self._file: IO[bytes] | None = None
        #: Where the lines are until the end, if not in the file.
        self._draft: Path | None = None

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
            if (stream := _stream(self._path)) is not None:
                return os.fdopen(os.dup(stream), "ab")
            if self._is_special():
                return self._path.open("ab")
            if self._added:
                return os.fdopen(private_file(self._path, os.O_WRONLY | os.O_APPEND), "ab")
            handle, name = mkstemp(".part", f".{self._path.name[:40]}.", self._path.parent)
            self._draft = Path(name)
            with suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return os.fdopen(handle, "wb")
        except OSError as error:
            raise ConfigurationError(f"{self._path}: cannot be written: {error.strerror}") from None

    def __enter__(self) -> "Rejects":
        # What would fail at the end is said before anything is published.
        try:
            is_folder = self._path.is_dir()
            os.stat(f"{self._path.parent}/")  # noqa: PTH116 - a path has no slash at its end, which asks for a folder
        except OSError as error:
            raise ConfigurationError(f"{self._path}: cannot be written: {error.strerror}") from None
        if is_folder:
            raise ConfigurationError(f"{self._path}: cannot be written: is a folder")
        if not self._added and self._path.is_file() and not os.access(self._path.parent, os.W_OK):
            raise ConfigurationError(f"{self._path}: cannot be replaced: its folder may not be changed")
        if not self._added:
            self._remove_left()
        return self

    def _remove_left(self) -> None:
        """Remove the drafts of killed runs: they quote personal data. A run that goes on has a lock on its own."""
        for draft in self._path.parent.glob(f".{escape(self._path.name[:40])}.????????.part"):
            # A file system without locks cannot say whose a draft is.
            with suppress(OSError), draft.open("r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                draft.unlink()

    def _is_special(self) -> bool:
        return _stream(self._path) is not None or (self._path.exists() and not self._path.is_file())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is None:
            self._end(kind is None)
            return
        with self._file as file:
            file.flush()
            # Before the file is closed, which ends its lock.
            self._end(kind is None)

    def _end(self, complete: bool) -> None:
        if self._added:
            return
        try:
            if self._draft is not None:
                self._draft.replace(self._path)
            elif complete and self._file is None and not self._is_special():
                self._path.unlink(missing_ok=True)
        except OSError as error:
            raise ConfigurationError(f"{self._path}: cannot be replaced: {error.strerror}") from None


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # links in a circle
        raise ConfigurationError(f"{path}: cannot be written: its links lead nowhere") from None


def _stream(path: Path) -> int | None:
    """The number of an open file of this process, as of /dev/stdout. Opened by that name, a file to which it leads
    would be written from its beginning, or replaced."""
    found = _STREAM.fullmatch(str(path))
    return None if found is None else int(found[1] or found[3] or {"out": 1, "err": 2}[found[2]])


def refuse_inputs(rejects: Path, inputs: Iterable[Path]) -> None:
    """Raise ConfigurationError if the file for the rejected rows is one of the files that are read."""
    for path in inputs:
        with suppress(OSError):
            if rejects.samefile(path):
                raise ConfigurationError(f"{rejects}: is read, and cannot be the file for rejected rows as well")


def _shown(value: Any) -> str:
    return str(value) if isinstance(value, date | Decimal) else repr(value)
