"""An address that cannot be one is named before anything connects, without its password."""

from pathlib import Path

import pytest

from services.rabbitmq.address import check_address
from shared.contracts.errors import ConfigurationError


@pytest.mark.parametrize(
    "uri",
    [
        "amqp://kith:secret@localhost:5672/",
        "amqp://host",
        "amqp://kith:se%2Fcret@[::1]:5672/shop?heartbeat=30",
        "amqps://kith:secret@rabbit.example/%2F",
    ],
)
def test_addresses_are_taken(uri: str) -> None:
    check_address(uri)


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("localhost:5672", "begins with neither"),
        ("http://kith:secret@localhost/", "begins with neither"),
        ("amqp://", "names no host"),
        ("amqp://kith:secret@:5672/", "names no host"),
        ("amqp://localhost:port/", "port is no number"),
        ("amqp://kith:secret/word@localhost:5672/", "/ is %2F"),
        ("amqp://kith:secret#word@localhost:5672/", "# is %23"),
        ("amqp://kith:12#secret@localhost:5672/", "# is %23"),
        ("amqp://kith:12?secret@localhost:5672/", "[?] is %3F"),
        ("amqp://kith:secret@[::1/", "malformed"),
    ],
)
def test_what_is_none_is_named_without_its_password(uri: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=f"KITH_AMQP is no address of RabbitMQ: .*{why}") as refused:
        check_address(uri)
    assert "secret" not in str(refused.value)


def test_files_of_tls_are_read_before(tmp_path: Path) -> None:
    text = tmp_path / "ca.pem"
    text.write_text("no certificate")
    for name in ("cafile", "certfile"):
        for path in (text, tmp_path / "missing.pem"):
            with pytest.raises(ConfigurationError, match=rf"KITH_AMQP: \S+{path.name} cannot be used for TLS"):
                check_address(f"amqps://kith:secret@localhost/?{name}={path}")
