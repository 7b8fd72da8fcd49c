"""Which network addresses deliveries may go to: public ones, by a list of our own. Pure.

``ipaddress.is_global`` does not suffice: in Python 3.11 it is true for multicast and for addresses of IPv6 that
contain a private IPv4 address (NAT64, 6to4). The registries are IANA's special-purpose addresses
(https://www.iana.org/assignments/iana-ipv4-special-registry, …iana-ipv6-special-registry).
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from shared.contracts.errors import ConfigurationError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_SPECIAL_V4 = [
    ip_network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
]
#: What is public in IPv6 is within 2000::/3, except these.
_UNICAST_V6 = IPv6Network("2000::/3")
_SPECIAL_V6 = [
    ip_network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
]
_NAT64 = IPv6Network("64:ff9b::/96")


def refusal(address: Address, allowed: Sequence[Network] = ()) -> str | None:
    """Why no delivery may go to ``address``; None if one may. ``allowed`` are networks that are permitted although
    they are not public."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return refusal(address.ipv4_mapped, allowed)
    if any(address in network for network in allowed):
        return None
    if isinstance(address, IPv4Address):
        public = not any(address in network for network in _SPECIAL_V4)
    elif address in _NAT64:
        return refusal(IPv4Address(int(address) & 0xFFFFFFFF), allowed)
    else:
        public = address in _UNICAST_V6 and not any(address in network for network in _SPECIAL_V6)
    return None if public else f"{address} is not a public address"


def parsed(text: str) -> Address:
    """The address of a socket, without a scope (``fe80::1%eth0``). Raises ValueError."""
    return ip_address(text.partition("%")[0])


def networks(texts: Sequence[str]) -> list[Network]:
    """The networks of KITH_WEBHOOK_ALLOW. Raises ConfigurationError."""
    found = []
    for text in texts:
        try:
            found.append(ip_network(text))
        except ValueError as error:
            raise ConfigurationError(f"KITH_WEBHOOK_ALLOW: {error}; write networks like 10.1.0.0/16") from None
    return found
