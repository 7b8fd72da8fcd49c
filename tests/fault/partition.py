"""A network that is cut between processes of this machine, while all others still reach both sides."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import product

from shared.local.clusters import MongoCluster
from shared.local.mongo import MongoServer

#: The kernel tells the members of a replica set apart by their group: the first one's, and the next numbers.
_FIRST_GROUP = 61_001


def missing() -> str | None:
    """Why no network can be cut here."""
    if os.geteuid() != 0:
        return "only root may cut a network"
    if shutil.which("iptables") is None or _iptables("--list-rules").returncode != 0:
        return "there is no iptables, or this container may not use it"
    return None


def number(mongo: MongoCluster) -> None:
    """Before they start: each member runs with a group of its own."""
    for group, node in enumerate(mongo.nodes, start=_FIRST_GROUP):
        node.process.user = (os.getuid(), group)


@contextmanager
def cut_off(node: MongoServer, others: Sequence[MongoServer]) -> Iterator[None]:
    """Nothing that the member asks of the others arrives, and nothing that they ask of it. Clients reach all."""
    with ExitStack() as undo:
        for one, two in product([node], others):
            for asking, asked in ((one, two), (two, one)):
                assert asking.process.user is not None
                group, port = str(asking.process.user[1]), str(asked.port)
                who = ("--match", "owner", "--gid-owner", group, "--destination-port", port)
                rule = ("OUTPUT", "--out-interface", "lo", "--protocol", "tcp", *who, "--jump", "DROP")
                _iptables("--insert", *rule).check_returncode()
                undo.callback(_iptables, "--delete", *rule)
        yield


def _iptables(*arguments: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(["iptables", "--wait", *arguments], capture_output=True, check=False)
