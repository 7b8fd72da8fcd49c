"""Selects the stack of a command: ``--context``, KITH_CONTEXT, or the one that runs on this machine."""

import functools
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Annotated, Any

import typer

from services.cli.completion import among, stacks
from shared.contracts.errors import ConfigurationError
from shared.local.contexts import Context, how_to_stop, is_path, path_of, read, running
from shared.service.launch import settings_from

VARIABLE = "KITH_CONTEXT"
OPTION = typer.Option(
    "--context",
    metavar="NAME|FILE",
    help=f"The stack to use if several run. Default: {VARIABLE}, or the only one that runs.",
    show_default=False,
    autocompletion=among(stacks),
)
#: If the environment sets one of these, a stack that happens to run is not used.
_SERVERS = ("KITH_KAFKA", "KITH_MONGO", "KITH_MONGO_FILE")
_asked: ContextVar[str | None] = ContextVar("asked", default=None)


@contextmanager
def asking_for(name: str | None) -> Iterator[None]:
    """Inside the context, commands use this stack unless they name another."""
    token = _asked.set(name)
    try:
        yield
    finally:
        _asked.reset(token)


def asked_for(option: str | None) -> str | None:
    """The name or file from the option, else from the option of `kith` itself, else from the environment."""
    return option or _asked.get() or os.environ.get(VARIABLE) or None


def chosen(option: str | None) -> Context:
    """The stack of a command that manages stacks. Raises ConfigurationError that lists the running ones."""
    name = asked_for(option)
    if name is not None:
        return _named(name)
    found = running()
    if len(found) == 1:
        return found[0]
    if not found:
        raise ConfigurationError("no stack is running on this machine; `kith up` starts one")
    raise ConfigurationError(_several(found))


def talks_to_a_stack(command: Callable[..., None]) -> Callable[..., None]:
    """The command with ``--context``. Its settings come from the environment, else from the stack."""
    if hasattr(command, "__talks_to_a_stack__"):
        return command

    service = command.__name__ if command.__module__ == "services.cli.run" else None

    @functools.wraps(command)
    def run(*arguments: Any, kith_context: str | None = None, **options: Any) -> None:
        from shared.settings import ADVICE

        def defaults() -> Mapping[str, Any]:
            settings, advice = _settings(asked_for(kith_context))
            ADVICE.set(advice)
            # A second process of a service cannot listen on the port of the first one.
            return {**settings, **({f"{service}_port": 0} if settings and service else {})}

        before = ADVICE.get()
        try:
            with settings_from(functools.cache(defaults)):
                command(*arguments, **options)
        finally:
            ADVICE.set(before)

    signature = inspect.signature(command)
    context = inspect.Parameter(
        "kith_context", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, OPTION]
    )
    run.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), context]
    )
    run.__annotations__ = {**command.__annotations__, "kith_context": context.annotation}
    run.__talks_to_a_stack__ = True  # type: ignore[attr-defined]
    return run


def _settings(name: str | None) -> tuple[Mapping[str, Any], str]:
    """The stack's settings, which the environment completes, and the advice for a setting that is still
    missing."""
    if name is not None:
        context = _named(name)
        if not context.ready:
            raise ConfigurationError(
                f"the stack {context.name} ({context.who}) is not ready yet; retry in a moment"
            )
        _check_names(context)
        _announce(context)
        return context.settings, f"{context.path} does not contain it either."
    found = running()
    ready = [context for context in found if context.ready]
    if explicit := [variable for variable in _SERVERS if os.environ.get(variable)]:
        names = " and ".join(explicit)
        if len(ready) == 1:
            return (
                {},
                f"The stack {ready[0].name} runs: unset {names} to use it, or add --context {ready[0].name}.",
            )
        return {}, f"{names} is set, so no stack is used: export the other settings, too."
    if len(ready) == 1:
        _announce(ready[0])
        return ready[0].settings, f"The stack {ready[0].name} has none."
    if ready:
        return {}, _several(ready)
    if found:
        return {}, f"The stack {found[0].name} ({found[0].who}) is not ready yet; retry in a moment."
    return {}, "No stack is running on this machine: start one with `kith up`, or export them."


def _check_names(context: Context) -> None:
    """Raise ConfigurationError for a misspelt setting in a context file."""
    from shared.settings import Settings

    if unknown := sorted(set(context.settings) - set(Settings.model_fields)):
        raise ConfigurationError(
            f"{context.path}: there is no setting {', '.join(unknown)} (`kith settings` lists all)"
        )


def _named(name: str) -> Context:
    path = path_of(name)
    if not path.exists():
        there = ", ".join(context.name for context in running())
        says = f"running: {there}" if there else "no stack is running; `kith up` starts one"
        raise ConfigurationError(f"there is no stack {name} ({says})")
    context = read(path)
    if not context.running:
        running()  # removes its context file
        raise ConfigurationError(f"the stack {name} has ended ({context.who}); start it again or choose another")
    return context


def _several(found: list[Context]) -> str:
    stacks = "".join(f"\n  {context.name:<12} {context.who}" for context in found)
    return f"Several stacks are running:{stacks}\nChoose one by --context NAME or {VARIABLE}."


def _announce(context: Context) -> None:
    """Print the stack in use: one line on stderr, because programs read stdout."""
    own = {name.upper() for name in os.environ}
    theirs = [name for name in context.settings if f"KITH_{name.upper()}" in own]
    servers = [
        (name, os.environ.get(f"KITH_{name.upper()}") or context.settings.get(name)) for name in ("kafka", "mongo")
    ]
    places = ", ".join(
        f"{'Kafka' if name == 'kafka' else 'MongoDB'} {place(str(at))}" for name, at in servers if at
    )
    line = f"kith: using the stack {context.name} ({places})"
    if theirs:
        line += f", with {', '.join(f'KITH_{name.upper()}' for name in theirs)} from the environment"
    print(line, file=sys.stderr)


def place(address: str) -> str:
    """Hosts and ports of an address, without a password or options."""
    return re.sub(r"^\w+(\+\w+)?://([^@/]*@)?|/.*$", "", address)


__all__ = ["VARIABLE", "asked_for", "asking_for", "chosen", "how_to_stop", "is_path", "place", "talks_to_a_stack"]
