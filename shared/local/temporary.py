"""The temporary folder of a stack without a data folder. It holds a master key, so none may stay behind."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from shared.local.locks import Lock

_PREFIX = "kith-"
#: In temporary folders only. Its lock is held as long as the folder is in use; the kernel releases it when the
#: process ends, even by ``kill -9``.
_MARK = "temporary.lock"


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that is removed at the end; after an error, all of it except the logs."""
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    # The mark gets its name when it is locked: from then on an unlocked one means that its process has ended.
    lock = Lock(folder / "new.lock")
    lock.acquire()
    (folder / "new.lock").rename(folder / _MARK)
    try:
        try:
            yield folder
        except Exception:
            for entry in folder.iterdir():
                if entry.name == "log":
                    continue
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry, ignore_errors=True)
                else:
                    entry.unlink(missing_ok=True)
            with suppress(OSError):  # unless there is a log in it
                folder.rmdir()
            raise
        except BaseException:
            shutil.rmtree(folder)
            raise
        shutil.rmtree(folder)
    finally:
        lock.release()


def remove_abandoned() -> list[Path]:
    """Remove the temporary folders of this user whose process was killed. Returns them."""
    removed = []
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/"):
        with suppress(OSError):
            if folder.is_symlink() or folder.stat().st_uid != os.getuid() or not (folder / _MARK).is_file():
                continue
            lock = Lock(folder / _MARK)
            if not lock.acquire():
                continue
            try:
                shutil.rmtree(folder)
                removed.append(folder)
            finally:
                lock.release()
    return removed


def removed_notice(folders: list[Path]) -> str:
    """What ``remove_abandoned`` has removed, for a person."""
    return f"Removed what a killed stack had left, with its master key: {', '.join(map(str, folders))}"
