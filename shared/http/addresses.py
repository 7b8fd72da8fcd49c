"""The address that a request comes from, behind proxies, too."""

import ipaddress
from collections.abc import Sequence

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
#: Who has one IPv6 address usually has all of its /64.
_IPV6_PREFIX = 64


class Proxies:
    """Addresses and networks of proxies in front. Raises ValueError for one that is neither."""

    def __init__(self, networks: Sequence[str] = ()) -> None:
        self._networks: list[Network] = [ipaddress.ip_network(each, strict=False) for each in networks]

    def __contains__(self, host: str) -> bool:
        if not self._networks:
            return False
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self._networks)

    def client_of(self, host: str, forwarded: Sequence[str] = ()) -> str:
        """The client of a connection from ``host``. ``forwarded`` are the values of X-Forwarded-For, in order.
        Only what a proxy has written is believed: the last address that is no proxy's. An IPv6 address stands for
        its network."""
        if host in self:
            for address in reversed([part.strip() for value in forwarded for part in value.split(",")]):
                try:
                    ipaddress.ip_address(address)
                except ValueError:
                    break
                host = address
                if address not in self:
                    break
        return _holder(host)


def _holder(host: str) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, _IPV6_PREFIX), strict=False))
