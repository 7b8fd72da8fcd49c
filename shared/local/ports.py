"""Which ports are taken, and by what."""

import os
from collections.abc import Mapping

from shared.contracts.errors import ConfigurationError
from shared.local.contexts import running
from shared.local.processes import is_free

_INSTEAD = "Stop what holds them, or name another base by --port-base; without one, free ports are taken."


def taken(wanted: Mapping[str, int]) -> dict[str, str]:
    """Finds those of the wanted ports, by name, that are in use, each with what is known of its holder, as in
    ``python (pid 12)``. Port 0 is any."""
    return {name: holder_of(port) for name, port in wanted.items() if port and not is_free(port)}


def require_free(wanted: Mapping[str, int]) -> None:
    """Raises ConfigurationError that names every wanted port that is in use, and its holder."""
    busy = taken(wanted)
    if busy:
        lines = [f"  {wanted[name]} for {name} is taken by {holder}" for name, holder in busy.items()]
        raise ConfigurationError("\n".join(["these ports were asked for and are in use:", *lines, _INSTEAD]))


def holder_of(port: int) -> str:
    """Which process listens on a port, as far as this user may know."""
    try:
        import psutil
    except ImportError:  # it comes with the extra local
        return "another process"
    try:
        pids = {
            c.pid for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN and c.laddr.port == port
        }
    except psutil.Error:  # some systems tell nobody but root
        pids = set()
    known = [_described(pid) for pid in sorted(pid for pid in pids if pid)]
    return " and ".join(known) or "a process of another user"


def _described(pid: int) -> str:
    import psutil

    try:
        process = psutil.Process(pid)
        name, command, above = process.name(), process.cmdline(), [parent.pid for parent in process.parents()]
    except psutil.Error:
        return f"process {pid}"
    # The rest of a command line may hold a password.
    module = command[command.index("-m") + 1] if "-m" in command[:-1] else None
    shown = f"{name} -m {module}" if module else name
    stacks = [context for context in running() if context.pid in (pid, *above)]
    if pid == os.getpid():
        return "this process"
    return f"{shown} (process {pid}" + (f" of the stack {stacks[0].name})" if stacks else ")")
