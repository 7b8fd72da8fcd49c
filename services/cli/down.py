"""`kith down` and `kith logs`: stop a stack on this machine, and show its logs."""

import os
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from services.cli.completion import among, stack_of
from services.cli.context import OPTION, asked_for, chosen
from shared.contracts.errors import ConfigurationError
from shared.contracts.services import SERVICES
from shared.local.contexts import Context, running
from shared.local.temporary import remove_abandoned, removed_notice

#: A stack gives each of its processes half a minute before it kills it.
PATIENCE_SECONDS = 120.0


def down_command(
    context: Annotated[str | None, OPTION] = None,
    every: Annotated[bool, typer.Option("--all", help="Stop every stack that runs on this machine.")] = False,
) -> None:
    """Stop a stack that `kith up` or `kith demo` has started.

    Returns when all of its processes have ended, and reports what is kept. Stops no other process.
    """
    if abandoned := remove_abandoned():
        typer.echo(removed_notice(abandoned))
    stacks = running() if every else [chosen(context)] if asked_for(context) or running() else []
    if not stacks:
        typer.echo("Nothing to stop: no stack is running on this machine.")
    for stack in stacks:
        _stop(stack)


def _stop(stack: Context) -> None:
    if stack.pid is None:
        raise ConfigurationError(f"{stack.path} names no process; it was not written by `kith up`")
    if stack.host != socket.gethostname():
        raise ConfigurationError(f"the stack {stack.name} runs on {stack.host}; stop it there")
    typer.echo(f"Stopping the stack {stack.name} ({stack.who}) …")
    _ask_to_stop(stack, stack.pid)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while stack.running:
        if time.monotonic() > deadline:
            raise ConfigurationError(
                f"the stack {stack.name} has not stopped within {PATIENCE_SECONDS:.0f} s; its logs: {stack.logs}"
            )
        time.sleep(0.05)
    kept = (
        f"Kept: {stack.data}"
        if stack.data
        else "Its temporary folder is gone; `kith up --data DIR` keeps the data"
    )
    typer.echo(f"Stopped. {kept}.")


def _ask_to_stop(stack: Context, pid: int) -> None:
    """Send SIGTERM to the process that holds the stack's lock, never to another one that reuses its process id."""
    if not hasattr(os, "pidfd_open"):
        if stack.running:
            os.kill(pid, signal.SIGTERM)
        return
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        # The lock is still held after the pidfd was opened, so the process id is the holder's.
        if stack.running:
            signal.pidfd_send_signal(process, signal.SIGTERM)
    finally:
        os.close(process)


def _logs(stack: Context) -> dict[str, Path]:
    return {path.stem: path for path in sorted(Path(stack.logs or "").glob("*.log"))} if stack.logs else {}


def _names(ctx: typer.Context, incomplete: str) -> list[str]:
    """The names of stacks, for the shell's completion."""
    named = stack_of(each.params for each in (ctx, ctx.find_root()))
    return among(lambda: _logs(chosen(named)))(incomplete)


def logs_command(
    service: Annotated[
        str | None,
        typer.Argument(
            help=f"{', '.join(SERVICES)}, kafka or mongo; relations-2 is a second worker. "
            "Without it, the logs are listed.",
            show_default=False,
            autocompletion=_names,
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Follow the log until Ctrl-C or the end of the stack.")
    ] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Number of last lines to begin with.")] = 100,
    context: Annotated[str | None, OPTION] = None,
) -> None:
    """Show the log of a service or server of a running stack."""
    from services.cli.log_view import follow as show_further
    from services.cli.log_view import last_lines

    stack = chosen(context)
    there = _logs(stack)
    if service is None:
        for name, path in there.items():
            typer.echo(f"{name:<12} {path}")
        return
    if service not in there:
        known = ", ".join(there) or "none"
        raise typer.BadParameter(
            f"the stack {stack.name} has no log of {service}; it has: {known}", param_hint="SERVICE"
        )
    if not follow:
        last_lines(there[service], lines)
        return
    # Ctrl-C ends it in order also while the last lines are written.
    with suppress(KeyboardInterrupt):
        show_further(there[service], last_lines(there[service], lines), lambda: stack.running)
