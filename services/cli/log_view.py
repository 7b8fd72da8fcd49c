"""Shows a log file on the terminal: its last lines, and appended ones."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from shared.observability.terminal import printable_lines

_BLOCK = 65_536
_EVERY_SECONDS = 0.2


def last_lines(path: Path, lines: int) -> int:
    """Write the last lines to stdout. Returns their end position in the file."""
    with path.open("rb") as file:
        end = file.seek(0, 2)
        start, found = end, b""
        while start > 0 and found.count(b"\n") <= lines:
            start = max(0, start - _BLOCK)
            file.seek(start)
            found = file.read(end - start)
    kept = found.splitlines(keepends=True)[-lines:] if lines else []
    _write(b"".join(kept))
    return end


def follow(path: Path, end: int, alive: Callable[[], bool]) -> None:
    """Write appended lines until the stack is not ``alive`` any more. Ctrl-C raises KeyboardInterrupt."""
    while True:
        going_on = alive()
        if path.exists():
            with path.open("rb") as file:
                if file.seek(0, 2) < end:  # the file was truncated
                    end = 0
                file.seek(end)
                while block := file.read(_BLOCK):
                    _write(block)
                    end += len(block)
        if not going_on:
            print("kith: the stack has ended", file=sys.stderr)
            return
        time.sleep(_EVERY_SECONDS)


def _write(block: bytes) -> None:
    # Kafka and MongoDB log names that clients choose. A terminal must not obey them; a file or a program
    # gets the bytes as they are.
    if sys.stdout.isatty():
        text = block.decode("utf-8", "backslashreplace").replace("\r\n", "\n").replace("\t", "    ")
        block = printable_lines(text).encode("utf-8", "backslashreplace")
    sys.stdout.buffer.write(block)
    sys.stdout.buffer.flush()
