"""The address of a cluster in the setting."""

import pytest

from shared.cassandra.address import Address, parse
from shared.contracts.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("cassandra://db1", Address(("db1",))),
        ("cassandra://db1:9142/kith", Address(("db1",), 9142)),
        (
            "cassandra://u%40x:p%2F%3A@db1,db2:9043/loyalty?datacenter=eu-west&replication=3&ca=/etc/ca.pem",
            Address(("db1", "db2"), 9043, "eu-west", ("u@x", "p/:"), "loyalty", 3, "/etc/ca.pem"),
        ),
        ("cassandra://[::1]:9042/", Address(("::1",))),
    ],
)
def test_an_address_is_read(text: str, address: Address) -> None:
    assert parse(text) == address


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("db1:9042", "begin with cassandra://"),
        ("cassandra://", "host is missing"),
        ("cassandra://a,:9042", "host is missing"),
        ("cassandra://a:1,b:2", "one port"),
        ("cassandra://a/Kith", "keyspace"),
        ("cassandra://a/x;drop", "keyspace"),
        ("cassandra://a?replicas=3", "no option replicas"),
        ("cassandra://a?replication=0", "from 1 to 99"),
        ("cassandra://a?replication=x", "invalid literal"),
    ],
)
def test_what_is_wrong_is_said_with_the_form(text: str, what: str) -> None:
    with pytest.raises(ConfigurationError, match=what) as error:
        parse(text)
    assert "cassandra://user:password@" in str(error.value)


def test_a_password_is_never_shown() -> None:
    with pytest.raises(ConfigurationError) as error:
        parse("cassandra://kith:geheim@a:1,b:2/")
    assert "geheim" not in str(error.value)
    assert "geheim" not in repr(parse("cassandra://kith:geheim@a"))
