"""``kith up -d``: a stack in its own process, which keeps running after this one has returned."""

import json
import os
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
            line = child.stdout.readline()
        except KeyboardInterrupt:
            to_stderr("Stopping what was started …")
            child.terminate()
            child.wait()
            return 130
    if not line:
        complain(_reason(log, child.wait()))
        return 1
    if warned := log.read_text(errors="replace").strip():
        to_stderr(warned)
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


def _reason(log: Path, status: int) -> str:
    said = log.read_text(errors="replace").strip()
    return said.removeprefix("kith: ") if said else f"it ended with status {status}\n{tail(log)}"
