"""The lock of a data folder: one stack at a time. A second one reports the process that holds it."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shared.contracts.errors import ConfigurationError
from shared.local.contexts import how_to_stop, running, without_password
from shared.local.locks import Lock

FILE = "kith.lock"


class Holder:
    """Writes into the lock's file the process that holds the folder, since when, and its stack's addresses."""

    def __init__(self, lock: Lock) -> None:
        self._lock = lock
        self._fields: dict[str, Any] = {"pid": os.getpid(), "since": _now()}
        lock.say(json.dumps(self._fields))

    def say(self, addresses: Mapping[str, str]) -> None:
        # Shown to who asks for the folder in vain, so it contains no passwords.
        self._fields["addresses"] = {name: without_password(address) for name, address in addresses.items()}
        self._lock.say(json.dumps(self._fields))


@contextmanager
def holding(folder: Path) -> Iterator[Holder]:
    """Lock the folder for this process. Raises ConfigurationError that names the process that holds it."""
    lock = Lock(folder / FILE)
    if not lock.acquire():
        raise ConfigurationError(_in_use(folder))
    try:
        yield Holder(lock)
    finally:
        lock.release()


def _in_use(folder: Path) -> str:
    try:
        held = json.loads((folder / FILE).read_text())
    except (OSError, ValueError):
        held = {}
    pid = held.get("pid")
    lines = [
        f"the data folder {folder} is in use by process {pid or 'unknown'}, since {held.get('since', 'unknown')}"
    ]
    lines += [f"  {name:<10} {address}" for name, address in held.get("addresses", {}).items()]
    stacks = [context.name for context in running() if context.pid == pid]
    stop = how_to_stop(stacks[0]) if stacks else "stop it"
    return "\n".join([*lines, f"{stop[0].upper() + stop[1:]}; or give another folder by --data."])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
