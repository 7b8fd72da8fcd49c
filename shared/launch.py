"""How every service process starts and ends: settings, logging, exit status."""

import sys
from collections.abc import Callable

from pydantic import ValidationError

from shared import logs
from shared.errors import ConfigurationError, Unavailable
from shared.settings import Settings


def launch(service: str, run: Callable[[Settings], None]) -> None:
    """Run a service until it is asked to stop. Exit status 0 then, 1 when it had to stop (a server that is
    away at the start, an error that nobody may ignore), 2 when a setting is wrong."""
    try:
        settings = Settings()
        logs.configure(settings.log_level)
        run(settings)
    except ValidationError as error:
        _end(service, explain_settings(error), 2)
    except ConfigurationError as error:
        _end(service, str(error), 2)
    except Unavailable as error:
        _end(service, str(error), 1)


def explain_settings(error: ValidationError) -> str:
    """What is wrong with the settings, by the names of their environment variables."""
    wrong = [f"KITH_{item['loc'][0]}".upper() + f": {item['msg']}" for item in error.errors() if item["loc"]]
    return "; ".join(wrong) or "the settings contradict each other"


def _end(service: str, message: str, status: int) -> None:
    print(f"kith {service}: {message}", file=sys.stderr)
    sys.exit(status)
