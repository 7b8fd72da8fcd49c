"""Whose address a request has: behind proxies, of IPv6, and with headers that nobody has to believe."""

import pytest

from shared.http.addresses import Proxies

PROXIES = Proxies(["10.0.0.0/8", "fd00::/8"])


@pytest.mark.parametrize(
    ("host", "forwarded", "client"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.7"], "192.0.2.1"),
        ("10.0.0.2", [], "10.0.0.2"),
        ("10.0.0.2", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.2", ["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
        ("10.0.0.2", ["203.0.113.9", "198.51.100.7, 10.0.0.3"], "198.51.100.7"),
        ("10.0.0.2", ["10.0.0.4, 10.0.0.3"], "10.0.0.4"),
        ("10.0.0.2", ["198.51.100.7, unknown"], "10.0.0.2"),
        ("fd00::1", ["2001:db8:1:2:3::4"], "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", [], "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", [], "192.0.2.1"),
        ("", ["198.51.100.7"], ""),
    ],
)
def test_the_client(host: str, forwarded: list[str], client: str) -> None:
    assert PROXIES.client_of(host, forwarded) == client


def test_without_proxies_nothing_that_is_forwarded_is_believed() -> None:
    assert Proxies().client_of("127.0.0.1", ["198.51.100.7"]) == "127.0.0.1"
    assert "127.0.0.1" not in Proxies()
