"""The address of RabbitMQ, as the setting has it: ``amqp://USER:PASSWORD@HOST:PORT/VHOST``."""

import ssl
from urllib.parse import parse_qs, urlsplit

from shared.contracts.errors import ConfigurationError

_WRITTEN = "in a password, / is %2F, ? is %3F, # is %23, @ is %40 and : is %3A"


def check_address(uri: str) -> None:
    """Raises ConfigurationError when nobody can connect by ``uri``; it shows neither user nor password."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        raise _wrong("it is malformed") from None
    if parts.scheme not in ("amqp", "amqps"):
        raise _wrong("it begins with neither amqp:// nor amqps://")
    try:
        parts.port  # noqa: B018 - it is read here to be checked
    except ValueError:
        raise _wrong(f"its port is no number; {_WRITTEN}") from None
    if parts.fragment or "@" in parts.query:
        raise _wrong(f"it has # or ? in front of its host; {_WRITTEN}")
    if not parts.hostname:
        raise _wrong("it names no host")
    if parts.scheme == "amqps":
        _check_files({name: values[-1] for name, values in parse_qs(parts.query).items()})


def _check_files(options: dict[str, str]) -> None:
    files = [options[name] for name in ("cafile", "certfile", "keyfile") if name in options]
    try:
        context = ssl.create_default_context(cafile=options.get("cafile"))
        if "certfile" in options:
            context.load_cert_chain(options["certfile"], options.get("keyfile"))
    except OSError as error:
        raise ConfigurationError(f"KITH_AMQP: {', '.join(files)} cannot be used for TLS: {error}") from None


def _wrong(why: str) -> ConfigurationError:
    return ConfigurationError(
        f"KITH_AMQP is no address of RabbitMQ: {why}. It looks like amqp://user:password@host:5672/"
    )
