"""The address of a Cassandra cluster, as the setting has it. Pure.

``cassandra://USER:PASSWORD@HOST,HOST:PORT/KEYSPACE?datacenter=DC&replication=3&ca=FILE``
"""

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

from shared.contracts.errors import ConfigurationError

PORT = 9042
_SCHEME = "cassandra"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")


@dataclass(frozen=True, slots=True)
class Address:
    """``hosts`` are contact points, ``datacenter`` the local one, whose replicas decide. ``keyspace`` is made
    where it is missing, with ``replication`` copies in that datacenter. ``ca`` is the PEM file of the authority
    that signed the nodes' certificates; with it connections use TLS."""

    hosts: tuple[str, ...]
    port: int = PORT
    datacenter: str = "datacenter1"
    login: tuple[str, str] | None = field(default=None, repr=False)
    keyspace: str = "kith"
    replication: int = 1
    ca: str | None = None


def parse(text: str) -> Address:
    """The address in a setting. Raises ConfigurationError, which never shows the password."""
    try:
        parts = urlsplit(text)
        options = {
            name: values[-1] for name, values in parse_qs(parts.query, strict_parsing=bool(parts.query)).items()
        }
        if parts.scheme != _SCHEME:
            raise ValueError(f"it has to begin with {_SCHEME}://")
        if unknown := set(options) - {"datacenter", "replication", "ca"}:
            raise ValueError(f"there is no option {', '.join(sorted(unknown))}")
        user, _, places = parts.netloc.rpartition("@")
        hosts, port = _hosts(places)
        keyspace = parts.path.strip("/") or "kith"
        if not _NAME.fullmatch(keyspace):
            raise ValueError("a keyspace is named by small letters, digits and _")
        name, _, password = user.partition(":")
        copies = int(options.get("replication", "1"))
        if not 1 <= copies <= 99:
            raise ValueError("replication is a number from 1 to 99")
        return Address(
            hosts,
            port,
            options.get("datacenter", "datacenter1"),
            (unquote(name), unquote(password)) if user else None,
            keyspace,
            copies,
            options.get("ca"),
        )
    except ValueError as error:
        raise ConfigurationError(
            f"KITH_CASSANDRA is no address of a cluster ({error}); it looks like "
            f"{_SCHEME}://user:password@host1,host2:{PORT}/keyspace?datacenter=name&replication=3"
        ) from None


def _hosts(places: str) -> tuple[tuple[str, ...], int]:
    """Hosts, of which each may have a port; it is the same for all nodes."""
    hosts, ports = [], set[int]()
    for place in places.split(","):
        host, colon, port = place.rpartition(":") if re.search(r":\d+$", place) else (place, "", "")
        if not _HOST.fullmatch(host):
            raise ValueError("a host is missing or malformed")
        hosts.append(host.strip("[]"))
        if colon:
            ports.add(int(port))
    if len(ports) > 1:
        raise ValueError("all nodes listen on one port")
    return tuple(hosts), ports.pop() if ports else PORT
