"""Exports as Tableau's extract files (``.hyper``), written in a separate process.

Tableau's engine and pantab are native code that can end its process where Python would raise: an empty table
without columns once ended the whole service. Here it can only end the child. Needs pantab and pyarrow.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from services.exports.arrow import record_batches, schema_of
from services.exports.columns import WriterFailed
from services.exports.source import Export

#: The child is killed if it takes longer than this to accept a batch of rows, or to finish the file.
STEP_SECONDS = 120.0
_CHUNK = 1 << 20
_CHILD = (sys.executable, "-m", "services.exports.hyper_writer")


def write_hyper(export: Export, path: Path, step_seconds: float = STEP_SECONDS) -> None:
    """Write one table, named like the dataset. The engine keeps its log beside the file, so ``path`` needs its own
    folder. Raises WriterFailed, and errors of reading the rows."""
    if not export.columns:
        raise WriterFailed("a file for Tableau needs at least one column, and none is visible to this credential")
    schema = schema_of(export)
    with path.with_suffix(".errors").open("w+b") as errors:
        child = subprocess.Popen(
            [*_CHILD, str(path), export.name.rpartition("/")[2]],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            # The engine is a process of the child's: both end together.
            start_new_session=True,
            env={**os.environ, "PYTHONFAULTHANDLER": "0"},
        )
        watch = _Watch(child, step_seconds)
        try:
            assert child.stdin is not None
            try:
                with child.stdin, pa.ipc.new_stream(child.stdin, schema) as stream:
                    for batch in record_batches(export, schema):
                        with watch:
                            stream.write_batch(batch)
            except (BrokenPipeError, pa.ArrowInvalid, OSError) as error:
                if not _is_pipe(error):
                    raise
            with watch:
                status = child.wait()
        finally:
            _kill(child)
        if status != 0 or not path.exists():
            errors.seek(0)
            raise WriterFailed(_reason(status, watch.expired, step_seconds, errors.read()))


def hyper(export: Export) -> Iterator[bytes]:
    """The file, once all of it is written to a temporary place."""
    with tempfile.TemporaryDirectory(prefix="kith-") as folder:
        path = Path(folder) / "export.hyper"
        write_hyper(export, path)
        file = path.open("rb")
    # The file is already unlinked, so a slow reader or a killed process leaves nothing behind.
    with file:
        while chunk := file.read(_CHUNK):
            yield chunk


class _Watch:
    """Ends the child when a step (the block of a ``with``) takes too long."""

    def __init__(self, child: "subprocess.Popen[bytes]", seconds: float) -> None:
        self._child = child
        self._seconds = seconds
        self.expired = False

    def __enter__(self) -> None:
        self._timer = threading.Timer(self._seconds, self._expire)
        self._timer.daemon = True
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def _expire(self) -> None:
        self.expired = True
        _kill(self._child)


def _kill(child: "subprocess.Popen[bytes]") -> None:
    # The group outlives its leader where the engine does.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _is_pipe(error: Exception) -> bool:
    return isinstance(error, BrokenPipeError) or "pipe" in str(error).lower()


def _reason(status: int, expired: bool, seconds: float, errors: bytes) -> str:
    if expired:
        what = f"made no progress for {seconds:g} seconds and was ended"
    elif status < 0:
        what = f"ended by the signal {signal.Signals(-status).name}"
    else:
        lines = errors.decode("utf-8", "replace").strip().splitlines()
        # The kind of the error only: its text may quote a value.
        what = f"failed ({lines[-1].partition(':')[0] if lines else f'status {status}'})"
    return f"the writer of Tableau's files {what}; export another format (parquet, csv), or less at a time"
