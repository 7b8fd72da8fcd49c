"""A stack with its context: written when it starts, removed when it has ended; reports what is kept."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from services.cli.context import place
from services.cli.up import Stack
from shared.contracts.services import SERVICES
from shared.local.contexts import Context, Held
from shared.service.launch import read_settings
from shared.settings import Settings


@dataclass(frozen=True)
class Options:
    """The folder that keeps the data, the first port, processes by service, the name of the context, the
    connectors that run, too, and networks that webhooks may be sent to besides those of the settings."""

    data: Path | None = None
    port_base: int | None = None
    workers: Mapping[str, int] = field(default_factory=dict)
    docker: bool = False
    context: str | None = None
    connectors: frozenset[str] = frozenset()
    webhook_allow: tuple[str, ...] = ()

    def name(self, command: str) -> str:
        """The default name of the context: that of the folder, else that of the command."""
        kept = "" if self.data is None else self.data.absolute().name
        slug = "".join(c if c.isalnum() or c in "-_" else "-" for c in kept).strip("-")
        return slug or command


@contextmanager
def stack_session(
    command: str, options: Options, warn: Callable[[str], None], say: Callable[[str], None]
) -> Iterator[tuple[Stack, Context]]:
    """A ready stack and its context, which other commands find until the stack has stopped. ``warn`` receives
    deviations, such as another port, and what is waited for; ``say`` what stops and what is kept at Ctrl-C."""
    settings = read_settings()
    if options.webhook_allow:
        allowed = (*settings.webhook_allow, *options.webhook_allow)
        settings = settings.model_copy(update={"webhook_allow": allowed})
    held = Held.take(options.context, options.name(command), f"kith {command}")

    def opened(folder: Path) -> None:
        kept = None if options.data is None else str(folder)
        held.write(replace(held.context, ready=False, data=kept, logs=str(folder / "log")))

    try:
        stack = Stack(
            settings,
            options.data,
            options.port_base,
            options.workers,
            options.docker,
            options.connectors,
            say=warn,
            opened=opened,
        )
        try:
            with stack:
                context = _ready(held.context, stack)
                held.write(context)
                try:
                    yield stack, context
                except KeyboardInterrupt:
                    say(_ending(settings, stack))
                    raise
        except KeyboardInterrupt:
            say(_kept(settings, options))
            raise
    finally:
        held.end()


def values_of(settings: Settings) -> dict[str, Any]:
    """The explicit settings, for a context: secrets in plain text, files by their absolute path."""
    found: dict[str, Any] = {}
    for name in sorted(settings.model_fields_set):
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
        if value is not None:
            found[name] = str(Path(value).absolute()) if name.endswith("_file") else value
    return found


def _ready(context: Context, stack: Stack) -> Context:
    assert context.logs is not None
    key = None if stack.api_key is None else str(Path(context.logs).with_name("api-key"))
    settings = values_of(stack.settings)
    return replace(context, ready=True, settings=settings, addresses=stack.addresses, api_key_file=key)


def _given(settings: Settings) -> list[str]:
    servers = (("Kafka", settings.kafka), ("MongoDB", settings.mongo))
    return [f"{name} at {place(address)}" for name, address in servers if address is not None]


def _ending(settings: Settings, stack: Stack) -> str:
    own = [name for name, given in (("Kafka", settings.kafka), ("MongoDB", settings.mongo)) if given is None]
    ended = [*(service for service in SERVICES if service in stack.services), *own]
    return f"Stopping {', '.join(ended)} …"


def _kept(settings: Settings, options: Options) -> str:
    lines = []
    given = _given(settings)
    if given:
        lines.append(f"Still running, with their data: {', '.join(given)}.")
    if options.docker and len(given) < 2:
        lines.append("Deleted: the data in the containers.")
    if options.data is not None:
        what = "keys and logs" if options.docker or len(given) == 2 else "data, keys and logs"
        lines.append(f"Kept: {what} in {options.data}. The same --data continues from there.")
    else:
        what = "keys and logs" if len(given) == 2 else "data, keys and logs"
        lines.append(f"Deleted: {what} of this stack. --data DIR keeps them.")
    return "\n".join(["Stopped.", *lines])
