"""Exports that native code writes (Parquet, Tableau's extract files), each in a process of its own. Needs pyarrow.

The writers of these files are native code that can end its process where Python would raise: an empty table
without columns once ended the whole service. Here they can only end the child. It gets the rows as an Arrow
stream; sending Python objects instead would cost three times the CPU.
"""

import os
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO

import pyarrow as pa

from services.exports.arrow import record_batches, schema_of
from services.exports.columns import WriterFailed
from services.exports.source import Export
from shared.runtime.children import end, how_it_ended, start

#: The child is killed if it takes longer than this to accept a batch of rows, or to finish the file.
STEP_SECONDS = 120.0
_CHUNK = 1 << 20
_LOOK_SECONDS = 0.5
_CHILD = (sys.executable, "-m", "services.exports.native_writer")
#: Of Linux's fcntl, which Python knows from 3.10 on: a larger pipe saves changes between the processes.
_SET_PIPE_SIZE = 1031
_FILES = {"hyper": "Tableau's files", "parquet": "Parquet files"}


def write_hyper(export: Export, path: Path, step_seconds: float = STEP_SECONDS) -> None:
    """Write one table, named like the dataset. The engine keeps its log beside the file, so ``path`` needs its own
    folder. Raises WriterFailed, and errors of reading the rows."""
    if not export.columns:
        raise WriterFailed("a file for Tableau needs at least one column, and none is visible to this credential")
    with _writer("hyper", str(path), export.name.rpartition("/")[2]) as (child, errors):
        watch = _Watch(child, step_seconds)
        feeder = _Feeder(child, export)
        feeder.run(watch)
        with watch:
            status = child.wait()
        if status != 0 or not path.exists():
            raise WriterFailed(_reason("hyper", status, watch.expired, step_seconds, errors))


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


def parquet(export: Export, step_seconds: float = STEP_SECONDS) -> Iterator[bytes]:
    """A Parquet file, a row group at a time: the child writes while the rows are read, and never ahead of a slow
    reader. Raises WriterFailed, and errors of reading the rows."""
    with _writer("parquet") as (child, errors):
        assert child.stdout is not None
        feeder = _Feeder(child, export)
        thread = threading.Thread(target=feeder.run, name="export", daemon=True)
        thread.start()
        expired, out = False, child.stdout.fileno()
        try:
            waiting_since = time.monotonic()
            while True:
                if select.select([out], [], [], _LOOK_SECONDS)[0]:
                    if not (chunk := os.read(out, _CHUNK)):
                        break
                    yield chunk
                    waiting_since = time.monotonic()
                # A child waits for its reader, and for the rows. It hangs if both wait for it.
                elif feeder.since and time.monotonic() - max(feeder.since, waiting_since) > step_seconds:
                    expired = True
                    end(child)
        finally:
            if sys.exc_info()[0] is not None:
                end(child)
            # With the child gone, the thread ends with the batch that it reads.
            thread.join()
        if feeder.error is not None:
            raise feeder.error
        if (status := child.wait()) != 0:
            raise WriterFailed(_reason("parquet", status, expired, step_seconds, errors))


@contextmanager
def _writer(format: str, *arguments: str) -> Iterator[tuple["subprocess.Popen[bytes]", IO[bytes]]]:
    """The child, and what it writes about its errors. It is ended with the block."""
    with tempfile.TemporaryFile() as errors:
        child = start(
            [*_CHILD, format, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if format == "parquet" else subprocess.DEVNULL,
            stderr=errors,
            env={**os.environ, "PYTHONFAULTHANDLER": "0"},
        )
        try:
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    _enlarge(pipe)
            yield child, errors
        finally:
            end(child)
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    with suppress(BrokenPipeError):
                        pipe.close()


def _enlarge(pipe: IO[bytes]) -> None:
    if sys.platform == "linux":
        import fcntl

        with suppress(OSError):
            fcntl.fcntl(pipe, _SET_PIPE_SIZE, _CHUNK)


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
        end(self._child)


class _Feeder:
    """Sends an export to the child. ``since`` is the time since which the child has had to accept a batch or to
    finish, None while rows are read. ``error`` is what a thread's reading of the rows raised."""

    def __init__(self, child: "subprocess.Popen[bytes]", export: Export) -> None:
        assert child.stdin is not None
        self._child, self._pipe, self._export = child, child.stdin, export
        self.since: float | None = None
        self.error: BaseException | None = None

    def run(self, watch: _Watch | None = None) -> None:
        """With a ``watch``, raises errors of reading the rows."""
        try:
            self._send(watch)
        except BaseException as error:
            if not _is_pipe(error):  # else the child has ended; its status says why
                end(self._child)
                if watch is not None:
                    raise
                self.error = error
        finally:
            with suppress(BrokenPipeError):
                self._pipe.close()
            self.since = time.monotonic()

    def _send(self, watch: _Watch | None) -> None:
        schema = schema_of(self._export)
        stream = pa.ipc.new_stream(self._pipe, schema)
        for batch in record_batches(self._export, schema):
            self.since = time.monotonic()
            with watch or nullcontext():
                stream.write_batch(batch)
            self.since = None
        stream.close()  # not after an error: a stream without its end makes no file


def _is_pipe(error: BaseException) -> bool:
    return isinstance(error, BrokenPipeError) or (
        isinstance(error, pa.ArrowInvalid | OSError) and "pipe" in str(error).lower()
    )


def _reason(format: str, status: int, expired: bool, seconds: float, errors: IO[bytes]) -> str:
    if expired:
        what = f"made no progress for {seconds:g} seconds and was ended"
    elif status < 0:
        what = how_it_ended(status)
    else:
        errors.seek(0)
        lines = errors.read().decode("utf-8", "replace").strip().splitlines()
        # The kind of the error only: its text may quote a value.
        what = f"failed ({lines[-1].partition(':')[0] if lines else f'status {status}'})"
    others = ", ".join(each for each in ("parquet", "csv") if each != format)
    return f"the writer of {_FILES[format]} {what}; export another format ({others}), or less at a time"
