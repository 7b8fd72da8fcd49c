"""Where downloads are kept between runs: one folder per user, safe for several processes at once."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_folder() -> Path:
    """``KITH_CACHE_FOLDER``, or ``kith`` in the user's cache folder. Created when missing."""
    folder = os.environ.get("KITH_CACHE_FOLDER")
    above = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(folder) if folder else Path(above) / "kith"
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def locked(name: str) -> Iterator[Path]:
    """The cache folder, while no other process holds the lock ``name``. A dead process holds none."""
    folder = cache_folder()
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
