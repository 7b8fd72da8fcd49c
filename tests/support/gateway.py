"""The gateway of docker-compose, as a process of this machine: real nginx with its real configuration."""

import os
import re
import shutil
import socket
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from shared.contracts.services import SERVICES
from shared.local.processes import Process, free_ports
from tests.support.paths import ROOT
from tests.support.waiting import PATIENCE_SECONDS

FOLDER = ROOT / "deploy/gateway"
_NO_SUCH_NAME = 3


class Names:
    """A name server, as Docker's: the addresses of each service's processes, and no such name for all others."""

    def __init__(self, addresses: Mapping[str, Sequence[str]]) -> None:
        self._addresses = addresses
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._answer, daemon=True)

    def __enter__(self) -> "Names":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # A datagram without a question ends the loop: closing a socket does not wake who reads from it.
        self._socket.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    def _answer(self) -> None:
        while True:
            asked, client = self._socket.recvfrom(512)
            if not asked:
                return
            self._socket.sendto(self._reply(asked), client)

    def _reply(self, asked: bytes) -> bytes:
        """Of a question for one name (RFC 1035, 4.1)."""
        end = asked.index(b"\0", 12) + 1
        labels, at = [], 12
        while asked[at]:
            labels.append(asked[at + 1 : at + 1 + asked[at]].decode())
            at += 1 + asked[at]
        found = self._addresses.get(".".join(labels), ())
        flags = 0x8180 | (0 if found else _NO_SUCH_NAME)
        head = asked[:2] + struct.pack("!5H", flags, 1, len(found), 0, 0)
        # A pointer to the name in the question, type A, class IN, one second, four bytes.
        records = [b"\xc0\x0c" + struct.pack("!2HIH", 1, 1, 1, 4) + socket.inet_aton(one) for one in found]
        return head + asked[12 : end + 4] + b"".join(records)


@contextmanager
def gateway(
    folder: Path, addresses: Mapping[str, Sequence[str]], proxies: str = ""
) -> Iterator[Mapping[str, int]]:
    """By service, its port: of the gateway on 127.0.0.1, and of each process at one of its ``addresses``. It
    believes ``proxies`` about their clients.

    Skips the test where there is no nginx; fails it with KITH_TEST_NGINX=required, as in CI."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        if os.environ.get("KITH_TEST_NGINX") == "required":
            pytest.fail("there is no nginx")
        pytest.skip("there is no nginx")
    ports = dict(zip(SERVICES, free_ports(len(SERVICES)), strict=True))
    with Names(addresses) as names:
        for path in FOLDER.iterdir():
            (folder / path.name).write_text(_for_here(path.read_text(), ports, names.port, folder))
        # Its workers would be somebody who cannot enter the folder, where root starts it.
        user = "user root; " if os.geteuid() == 0 else ""
        own = ["-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", f"{user}daemon off;"]
        given = {"PATH": f"{Path(program).parent}:{os.environ['PATH']}", "KITH_GATEWAY_PROXIES": proxies}
        process = Process("nginx", ["sh", str(folder / "start.sh"), *own], folder / "nginx.log", given)
        process.start()
        try:
            # It opens them one after the other.
            process.wait_until(
                lambda: None if all(map(_listens, ports.values())) else "its ports", PATIENCE_SECONDS
            )
            yield ports
        finally:
            process.stop()


def _for_here(text: str, ports: Mapping[str, int], resolver: int, folder: Path) -> str:
    numbers = {str(SERVICES[name].port): str(port) for name, port in ports.items()}
    text = re.sub(r"\b87\d\d\b", lambda found: numbers[found[0]], text)
    text = text.replace("listen ", "listen 127.0.0.1:").replace("127.0.0.11 ", f"127.0.0.1:{resolver} ")
    return text.replace("/tmp/", f"{folder}/")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def problem_of(answer: Any) -> str:
    """The kind of an answer that must be a problem, such as ``no-process``."""
    assert answer.headers["Content-Type"] == "application/problem+json", answer.text
    kind: str = answer.json()["type"]
    return kind.removeprefix("/problems/")
