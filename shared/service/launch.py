"""How every service process starts and ends: settings, logging, exit status."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from shared.contracts.errors import ConfigurationError, Unavailable
from shared.observability.terminal import printable_lines

if TYPE_CHECKING:
    from shared.settings import Settings


_defaults: ContextVar[Callable[[], Mapping[str, Any]]] = ContextVar("defaults", default=dict)


@contextmanager
def settings_from(defaults: Callable[[], Mapping[str, Any]]) -> Iterator[None]:
    """Within the block, ``read_settings`` takes settings missing in the environment from ``defaults``, which is
    called only then. For commands, which find a stack that runs on this machine."""
    token = _defaults.set(defaults)
    try:
        yield
    finally:
        _defaults.reset(token)


def launch(service: str, run: "Callable[[Settings], None]") -> None:
    """Run a service until it is stopped. The exit status is 0 then, 1 when it had to stop (a server that is
    unavailable at the start, an unexpected error), and 2 when a setting is wrong."""
    from shared.observability import logs

    try:
        settings = read_settings()
        logs.configure(settings.log_level)
        run(settings)
    except ConfigurationError as error:
        _end(service, str(error), 2)
    except Unavailable as error:
        _end(service, str(error), 1)


def read_settings() -> "Settings":
    """The settings of the environment, completed by ``settings_from``. Raises ConfigurationError that names the
    wrong variables."""
    # Imported here, because it takes a third of a second, and a command prints its help without it.
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    from shared.settings import Settings

    try:
        # A secret whose file the environment names is stated, too.
        set_ones = {name.upper() for name, value in os.environ.items() if value}
        said = set_ones | {name.removesuffix("_FILE") for name in set_ones}
        return Settings(
            **{name: it for name, it in _defaults.get()().items() if f"KITH_{name.upper()}" not in said}
        )
    except ValidationError as error:
        wrong = [f"KITH_{item['loc'][0]}".upper() + f": {item['msg']}" for item in error.errors() if item["loc"]]
        raise ConfigurationError("; ".join(wrong) or "the settings contradict each other") from None
    except SettingsError as error:  # a value is not valid JSON
        raise ConfigurationError(str(error)) from None


def _end(service: str, message: str, status: int) -> None:
    print(f"kith {service}: {printable_lines(message)}", file=sys.stderr)
    sys.exit(status)
