"""Where downloads are kept between runs: one folder per user, safe for several processes at once."""

import fcntl
import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.contracts.errors import ConfigurationError
from shared.local.private import check_way, new_folder

log = logging.getLogger(__name__)

_WRITABLE = stat.S_IWGRP | stat.S_IWOTH


def cache_folder() -> Path:
    """``KITH_CACHE_FOLDER``, or ``kith`` in the user's cache folder. Created when missing. Its files
    are run, so nobody else may write to it. Raises ConfigurationError when it belongs to another user (except the
    administrator), or cannot be narrowed."""
    folder = os.environ.get("KITH_CACHE_FOLDER")
    above = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    # Absolute: what is run from it may run in another folder.
    path = (Path(folder) if folder else Path(above) / "kith").absolute()
    check_way(path)
    new_folder(path)
    status = path.stat()
    if status.st_uid not in (os.geteuid(), 0):
        raise ConfigurationError(
            f"{path} belongs to another user (id {status.st_uid}), who could exchange what Kith runs from it; "
            "name another folder in KITH_CACHE_FOLDER"
        )
    if status.st_mode & _WRITABLE:
        try:
            path.chmod(stat.S_IMODE(status.st_mode) & ~_WRITABLE)
        except PermissionError:
            raise ConfigurationError(
                f"{path}: other users can write to it; name another in KITH_CACHE_FOLDER"
            ) from None
        log.warning("%s could be written by other users of this machine; now only its owner can", path)
    return path


@contextmanager
def locked(name: str) -> Iterator[Path]:
    """The cache folder, while no other process holds the lock ``name``. A dead process holds none."""
    folder = cache_folder()
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
