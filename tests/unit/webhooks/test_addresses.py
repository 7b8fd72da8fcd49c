"""Where deliveries may go."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.webhooks.delivery.addresses import networks, parsed, refusal
from services.webhooks.delivery.urls import check_url
from shared.contracts.errors import ConfigurationError

NOT_PUBLIC = [
    *("127.0.0.1", "127.8.9.10", "0.0.0.0", "10.0.0.1", "172.16.3.4", "192.168.1.1", "169.254.169.254"),
    *("100.64.0.1", "192.0.0.8", "192.0.2.1", "198.18.0.1", "203.0.113.9", "224.0.0.1", "255.255.255.255"),
    *(
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd00::1",
        "ff02::1",
    ),
    # An address of IPv6 that leads to a private one of IPv4: NAT64, its local form, 6to4, Teredo.
    *("64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::1", "2002:7f00:1::", "2001::1", "2001:db8::1", "::7f00:1"),
]


@pytest.mark.parametrize("text", NOT_PUBLIC)
def test_an_address_that_is_not_public_is_refused(text: str) -> None:
    assert refusal(parsed(text)) is not None


@pytest.mark.parametrize(
    "text", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "64:ff9b::101:101", "::ffff:1.1.1.1"]
)
def test_a_public_address_is_not(text: str) -> None:
    assert refusal(parsed(text)) is None


@given(st.ip_addresses())
def test_whatever_python_calls_private_is_refused(address: object) -> None:
    found = ip_address(str(address))
    if not found.is_global or found.is_multicast or found.is_loopback or found.is_link_local:
        assert refusal(found) is not None or str(found).startswith("64:ff9b::")


def test_networks_of_ones_own_can_be_allowed() -> None:
    allowed = networks(["10.1.0.0/16", "fd00::/8"])
    assert refusal(ip_address("10.1.2.3"), allowed) is None
    assert refusal(ip_address("::ffff:10.1.2.3"), allowed) is None
    assert refusal(ip_address("10.2.0.1"), allowed) is not None
    assert allowed == [ip_network("10.1.0.0/16"), ip_network("fd00::/8")]
    with pytest.raises(ConfigurationError, match="KITH_WEBHOOK_ALLOW"):
        networks(["10.1.0.1/16"])


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://example.org/", "https://"),
        ("ftp://example.org/", "https://"),
        ("https:///path", "name a host"),
        ("//example.org", "https://"),
        ("javascript:alert(1)", "https://"),
        ("https://example.org:8443/", "port 443"),
        ("https://example.org:99999/", "no URL"),
        ("https://user:secret@example.org/", "user name"),
        ("https://example.org/#part", "fragment"),
        ("https://example.org/a b", "spaces"),
        ("https://example.org/\n", "spaces"),
        ("https://exämple.org/", "xn--"),
        ("https://example.org\\@10.0.0.1/", "host"),
        ("https://127.0.0.1/", "not a public"),
        ("https://[::1]/", "not a public"),
        ("https://[::ffff:10.0.0.1]/", "not a public"),
        ("https://[fe80::1%25eth0]/", "without a zone"),
        ("https://169.254.169.254/latest/meta-data", "not a public"),
        ("https://" + "a" * 2000, "2,000"),
    ],
)
def test_an_odd_url_is_refused_with_the_reason(url: str, reason: str) -> None:
    found = check_url(url, [])
    assert found is not None
    assert reason in found


NUMBERS = [
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "127.1",
    "0",
    "1.2.3.4.5",
    "256.1.1.1",
    "127.0.0.1..",
    "0x.",
    "a.1",
]
NO_NAMES = [
    *("*.example", "-a.example", "a-.example", ".example.org", "example..org", "a" * 64 + ".org", "%6c%6fcalhost"),
    *("[v1.fe]", "[2001:4860:4860::8888%25eth0]", "[2001:4860:4860::8888%eth0]", "[2001:4860:4860::8888]x"),
    *("x[2001:4860:4860::8888]", "[2001:4860:4860::8888%25]", "[v1.8.8.8.8]"),
    *(".".join(["a" * 60] * 5), "evil%00.example", "example.org;x", "[v1.fe80::a]", "a,b", "a'b", "$(id)"),
]


@pytest.mark.parametrize("host", [*NUMBERS, *NO_NAMES])
def test_a_host_that_is_neither_a_name_nor_an_address_is_refused(host: str) -> None:
    for allowed in ([], networks(["127.0.0.0/8"])):
        found = check_url(f"https://{host}/hook", allowed)
        assert found is not None
        assert "must" in found


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "localhost.", "a.localhost"])
def test_this_machine_is_no_receiver_unless_it_is_allowed(host: str) -> None:
    assert "this machine" in str(check_url(f"https://{host}/", []))
    assert check_url(f"http://{host}:8000/", networks(["127.0.0.0/8"])) is None
    assert check_url(f"http://{host}:8000/", networks(["::1/128"])) is None


@pytest.mark.parametrize(
    "url",
    [
        "HTTPS://EXAMPLE.org/x",
        "https://xn--bcher-kva.example/",
        "https://example.org.:443/?a=%zz",
        "https://a_b.c-d/",
        "https://[2001:4860:4860::8888]:443/",
        "https://[2001:4860:4860:0:0:0:8.8.8.8]/",
    ],
)
def test_an_unusual_url_is_taken(url: str) -> None:
    assert check_url(url, []) is None


def test_no_port_is_port_0() -> None:
    assert "port 0" in str(check_url("https://example.org:0/", networks(["10.0.0.0/8"])))


def test_a_url_of_an_allowed_network_may_be_plain() -> None:
    assert check_url("http://127.0.0.1:9000/hook", networks(["127.0.0.0/8"])) is None
    assert check_url("https://example.org/hook?x=1", []) is None
