"""``kith up -d``: a stack in its own process, which keeps running after this one has returned."""

import json
import os
import select
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from services.cli.session import Options
from services.cli.signals import signals_interrupt
from services.cli.up_run import STARTING, announce, complain, to_stderr
from shared.local.contexts import folder, free_name
from shared.local.private import private_file, private_folder
from shared.local.processes import tail


def up_detached(options: Options, json_line: bool) -> int:
    """Return when the stack is ready (status 0) or has failed to start (status 1, with the reason)."""
    if not json_line:
        to_stderr(STARTING)
    logs = private_folder(folder(), to_stderr)
    # Not the log of a stack that runs: it would be begun anew under it.
    log = logs / f"{Path(free_name(options.context, options.name('up'))).stem}.log"
    # The stack writes its addresses to the pipe when it is ready, everything else to the log.
    with signals_interrupt(), os.fdopen(private_file(log, os.O_WRONLY | os.O_TRUNC), "wb") as errors:
        child = subprocess.Popen(
            [sys.executable, "-m", "services.cli", "up", "--json", *_arguments(options)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
            text=True,
        )
        assert child.stdout is not None
        try:
            shown = told(log, 0)
            while not select.select([child.stdout], [], [], 0.2)[0]:
                shown = told(log, shown)
            line = child.stdout.readline()
            child.stdout.close()
        except KeyboardInterrupt:
            to_stderr("Stopping what was started …")
            child.terminate()
            child.wait()
            return 130
    if not line:
        complain(reason_of(log, child.wait(), told(log, shown)))
        return 1
    told(log, shown)
    if json_line:
        print(line, end="", flush=True)
        return 0
    said = json.loads(line)
    key, name, pid = said.pop("api_key"), said.pop("context"), said.pop("pid")
    announce(said, key, name, f"It runs as process {pid}; kith down stops it.")
    return 0


def _arguments(options: Options) -> Sequence[str]:
    workers = [part for service, count in options.workers.items() for part in ("--workers", f"{service}={count}")]
    named = {"--data": options.data, "--port-base": options.port_base, "--context": options.context}
    given = [part for name, value in named.items() if value is not None for part in (name, str(value))]
    flags = [*(["--docker"] if options.docker else []), *(f"--{name}" for name in sorted(options.connectors))]
    return [*given, *workers, *flags]


def told(log: Path, shown: int) -> int:
    """Show the whole lines of the log from this position on, up to the reason of a failure; return the next."""
    for line in log.read_bytes()[shown:].splitlines(keepends=True):
        if not line.endswith(b"\n") or line.startswith((b"kith: ", b"Traceback")):
            break
        to_stderr(line.decode(errors="replace").rstrip())
        shown += len(line)
    return shown


def reason_of(log: Path, status: int, shown: int) -> str:
    """What the log says from this position on of why the stack has not started."""
    said = log.read_bytes()[shown:].decode(errors="replace").strip()
    return said.removeprefix("kith: ") if said else f"it ended with status {status}\n{tail(log)}"
