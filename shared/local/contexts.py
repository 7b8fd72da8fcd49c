"""Contexts: how a command finds a stack that runs on this machine.

``kith up`` and ``kith demo`` write a file with the settings of their stack, which only its owner can read, because
it can hold passwords and keys. The file counts while the process that wrote it holds the lock beside it.
"""

import json
import os
import re
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from shared.contracts.errors import ConfigurationError
from shared.local.locks import Lock, is_held
from shared.local.private import new_folder, private_folder, write_private

_ENDING = ".json"
EXAMPLE = '{"settings": {"kafka": "host:9092", "mongo": "mongodb://…"}}'


@dataclass(frozen=True)
class Context:
    """A stack. ``settings`` are those of its services, by the names of ``Settings``; ``data`` is the folder that
    stays at the end, if any; ``logs`` is the folder of the logs; ``pid`` is None in a file that a person wrote."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict, repr=False)
    addresses: dict[str, str] = field(default_factory=dict)
    command: str = ""
    pid: int | None = None
    host: str = ""
    started: str = ""
    ready: bool = True
    data: str | None = None
    logs: str | None = None
    api_key_file: str | None = None
    #: Where it was read from.
    path: Path = Path()

    @property
    def running(self) -> bool:
        """Whether the process that wrote it lives. A file that a person wrote is always good."""
        return self.pid is None or is_held(_lock_of(self.path))

    @property
    def who(self) -> str:
        """The process, for a person."""
        return f"{self.command}, process {self.pid}, since {self.started}"


class Held:
    """The context that this process writes. Nothing else writes one of this name meanwhile."""

    def __init__(self, path: Path, lock: Lock, context: Context) -> None:
        self._lock = lock
        self.path = path
        self.context = context

    @classmethod
    def take(cls, asked: str | None, default: str, command: str) -> Self:
        """A context of this name (or file); of ``default`` or the next free name where none is asked for. Raises
        ConfigurationError when the one that is asked for is in use."""
        for name in _names(asked, default):
            path = path_of(name)
            if not is_path(name):
                private_folder(path.parent)
            new_folder(path.parent)
            lock = Lock(_lock_of(path))
            if lock.acquire():
                if is_path(name) and path.exists() and read(path).pid is None:
                    lock.release()
                    raise ConfigurationError(f"{path} is not a context that kith wrote; it is not overwritten")
                now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
                context = Context(
                    path.stem, command=command, pid=os.getpid(), host=socket.gethostname(), started=now
                )
                return cls(path, lock, context)
            if asked:
                raise _in_use(name)
        raise _too_many(default)

    def write(self, context: Context) -> None:
        """Replace the file at once."""
        self.context = context
        fields = {name: value for name, value in asdict(context).items() if name != "path"}
        write_private(self.path, json.dumps(fields, indent=2))

    def end(self) -> None:
        """Remove it."""
        self.path.unlink(missing_ok=True)
        self._lock.release()


def free_name(asked: str | None, default: str) -> str:
    """The name that ``Held.take`` would take now. Raises as it does."""
    for name in _names(asked, default):
        if not is_held(_lock_of(path_of(name))):
            return name
        if asked:
            raise _in_use(name)
    raise _too_many(default)


def _names(asked: str | None, default: str) -> list[str]:
    return [asked] if asked else [default, *(f"{default}-{n}" for n in range(2, 100))]


def _in_use(name: str) -> ConfigurationError:
    return ConfigurationError(f"the stack {name} is running ({read(path_of(name)).who}): {how_to_stop(name)}")


def _too_many(default: str) -> ConfigurationError:
    return ConfigurationError(f"too many stacks are running; `kith down --context {default}` stops one")


def how_to_stop(name: str) -> str:
    return f"`kith down --context {name}` stops it"


def without_password(address: str) -> str:
    """A URI as it may be shown."""
    return re.sub(r"//[^@/]*@", "//***@", address)


def is_path(name: str) -> bool:
    """Whether a context is named by its file."""
    return os.sep in name or name.endswith(_ENDING)


def path_of(name: str) -> Path:
    """The file of a context, named by its name or by the file itself. Raises ConfigurationError."""
    if is_path(name):
        return Path(name).absolute()
    if not name or not all(c.isalnum() or c in "-_." for c in name) or name.startswith("."):
        raise ConfigurationError(f"{name!r} is no name of a context: letters, digits, - and _ make one")
    return folder() / f"{name}{_ENDING}"


def running() -> list[Context]:
    """The stacks that run on this machine, by name. What a dead process has left is removed. A file that
    a person wrote is for who names it."""
    found = []
    try:
        paths = list(folder().glob(f"*{_ENDING}"))
    except ConfigurationError:
        return []
    for path in paths:
        try:
            context = read(path)
        except ConfigurationError:
            continue
        if not context.running:
            _remove_stale(path)
        elif context.pid is not None:
            found.append(context)
    return sorted(found, key=lambda context: context.name)


def read(path: Path) -> Context:
    """The context in a file. Raises ConfigurationError when there is none, and when it is another user's: it would
    lead this one's commands, with their keys, to servers of that user."""
    try:
        with path.open() as file:
            if (owner := os.fstat(file.fileno()).st_uid) not in (os.geteuid(), 0):
                raise ConfigurationError(f"{path} belongs to another user (id {owner}); it is not used")
            found = json.load(file)
        if not isinstance(found, dict) or not isinstance(found.get("settings"), dict):
            raise TypeError("an object with settings")
        known = {name: found[name] for name in Context.__dataclass_fields__ if name in found}
        return Context(**{**known, "name": path.stem, "path": path})
    except FileNotFoundError:
        raise ConfigurationError(f"there is no context {path}") from None
    except (OSError, ValueError, TypeError) as error:
        raise ConfigurationError(f"{path} is no context ({type(error).__name__}); one is like {EXAMPLE}") from None


def folder() -> Path:
    """Where contexts are: in the user's folder for state, else in the user's own among the temporary files. Raises
    ConfigurationError when neither can be written, or somebody else has made them."""
    for candidate in _folders():
        existing = candidate
        while not existing.exists():
            existing = existing.parent
        mine = existing != candidate or (candidate.is_dir() and candidate.lstat().st_uid == os.getuid())
        if mine and os.access(existing, os.W_OK):
            return candidate
    raise ConfigurationError(
        f"neither of {', '.join(map(str, _folders()))} is a folder that this user can write to"
    )


def _folders() -> Iterator[Path]:
    if state := os.environ.get("XDG_STATE_HOME"):
        yield Path(state) / "kith"
    elif home := os.environ.get("HOME"):
        yield Path(home) / ".local" / "state" / "kith"
    yield Path(tempfile.gettempdir()) / f"kith-{os.getuid()}"


def _lock_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _remove_stale(path: Path) -> None:
    lock = Lock(_lock_of(path))
    if lock.acquire():
        path.unlink(missing_ok=True)
        lock.release()
