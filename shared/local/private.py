"""Folders and files for their owner only. They are created so; those that were open to others are narrowed."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

from shared.contracts.errors import ConfigurationError

_OTHERS = 0o077
#: For child processes: what they create is their owner's.
UMASK = 0o077


#: Links in one another's way before a path is one in a circle.
_MOST_LINKS = 40


def new_folder(path: Path) -> None:
    """Create a folder unless it is there, and what is missing above it, for their owner alone whatever the umask.
    Raises OSError."""
    for each in (*reversed(path.parents), path):
        # A link that leads nowhere is in the way.
        if not each.exists():
            each.mkdir(0o700, exist_ok=True)


def check_way(path: Path) -> None:
    """Raise ConfigurationError for a path through a link or a folder of another user in a folder that others may
    write to, as /tmp is: they may have laid it there, and can exchange what it leads to."""
    at, todo, links = Path("/"), list(reversed(path.absolute().parts[1:])), 0
    while todo:
        shared, here = at.stat().st_mode & stat.S_IWOTH, at / todo.pop()
        try:
            found = here.lstat()
        except OSError:  # what is missing is created, and what cannot be reached is not used
            return
        if shared and found.st_uid not in (os.geteuid(), 0):
            raise ConfigurationError(
                f"{here} belongs to another user (id {found.st_uid}), who may have made it for you to find, and "
                "could exchange what it leads to; name another place"
            )
        if not stat.S_ISLNK(found.st_mode):
            at = here
        elif (links := links + 1) > _MOST_LINKS:
            return
        else:
            to = here.readlink()
            at = Path("/") if to.is_absolute() else at
            todo += reversed(to.parts[1:] if to.is_absolute() else to.parts)


def private_folder(path: Path, say: Callable[[str], None] = lambda _: None) -> Path:
    """A folder that its owner alone can enter, created when missing. One that others could enter is narrowed, and
    ``say`` receives that. Raises ConfigurationError when it is another user's, or no folder."""
    try:
        check_way(path)
        new_folder(path)
        # By a descriptor, so that nothing else can take the name's place between the look and the change.
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileExistsError, NotADirectoryError):
        raise ConfigurationError(f"{path} is no folder; name another") from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be used as a folder: {error.strerror}") from None
    try:
        if os.fstat(folder).st_mode & stat.S_ISVTX:
            raise ConfigurationError(f"{path} is a folder that all users of this machine share; name one in it")
        _narrow(folder, path, 0o700, say)
    finally:
        os.close(folder)
    return path


def private_file(path: Path, flags: int, say: Callable[[str], None] = lambda _: None) -> int:
    """A descriptor of a file that its owner alone can read, created when missing, and narrowed like a folder.
    ``flags`` are those of ``os.open``. Raises ConfigurationError when it is another user's."""
    try:
        file = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be opened: {error.strerror}") from None
    try:
        _narrow(file, path, 0o600, say)
    except BaseException:
        os.close(file)
        raise
    return file


def write_into(path: Path, text: str) -> None:
    """Write into the file (or the pipe, or the device) that a person has named. Of a file only its owner can read
    it. Raises OSError, and ConfigurationError when it is another user's."""
    if path.exists() and not path.is_file():
        path.write_text(text)
        return
    with os.fdopen(private_file(path, os.O_WRONLY), "w") as file:
        file.truncate()
        file.write(text)


def write_private(path: Path, text: str) -> None:
    """Replace a file at once by one that its owner alone can read."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def _narrow(descriptor: int, path: Path, mode: int, say: Callable[[str], None]) -> None:
    found = os.fstat(descriptor)
    if found.st_uid != os.geteuid():
        raise ConfigurationError(
            f"{path} belongs to another user (id {found.st_uid}), who could read and change what is in it; "
            "name another, or have it given to you (chown)"
        )
    if open_to := stat.S_IMODE(found.st_mode) & _OTHERS:
        try:
            os.fchmod(descriptor, stat.S_IMODE(found.st_mode) & ~_OTHERS & 0o7777 | mode)
        except OSError as error:
            raise ConfigurationError(
                f"{path} is open to other users of this machine (mode {mode | open_to:o}), and that cannot be "
                f"changed: {error.strerror}; name another"
            ) from None
        say(f"{path} was open to other users of this machine (mode {mode | open_to:o}); now only you can use it.")
