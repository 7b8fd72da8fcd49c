"""A lock that ends with its process, even by ``kill -9``."""

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

#: ``is_held`` takes a lock for microseconds, which must not look like a holder.
_PATIENCE_SECONDS = 0.25


class Lock:
    """An exclusive lock by a file, in which its holder can say who it is.

    The kernel releases it when the holder ends, however it ends, so that it never speaks of a process id that
    belongs to another process by now.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None

    def acquire(self) -> bool:
        """Take it if no other process holds it."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(file)
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.01)
                continue
            with suppress(FileNotFoundError):
                if os.fstat(file).st_ino == self.path.stat().st_ino:
                    self._file = file
                    return True
            os.close(file)  # the holder before has removed the file meanwhile

    def say(self, text: str) -> None:
        """Replace what the holder says of itself."""
        assert self._file is not None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, text.encode(), 0)

    def release(self) -> None:
        """Remove the file and let go. Not held is fine."""
        if self._file is not None:
            with suppress(FileNotFoundError):
                self.path.unlink()
            os.close(self._file)
            self._file = None


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False
