"""``python -m services.bench.attacks NAME``: what the worst tenant does with one valid key, until it is stopped.

Bounded: so many connections of one process, over loopback. A connection that is refused or closed is opened again
after a moment, so that the cost of the attack itself stays small beside what it causes.
"""

import argparse
import asyncio
import json
import signal
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import cycle
from urllib.parse import quote

STARTED = "started"
_PAUSE_SECONDS = 0.02
#: Events of a request: erasures fill a body, and facts are answered within the time that is measured.
_ERASURES, _EVENTS = 2_500, 500
#: Numbers in the place of ``{}`` in a path.
_VARIED = 200
_BODIES: Mapping[str, object] = {
    "campaign": {"consumer_ids": [f"c-{number:07d}" for number in range(1_000)], "limit": 20},
    "registration": {"client_name": "bench", "scope": "relations:read"},
    "replay": {"since": "beginning"},
}


@dataclass(frozen=True, slots=True)
class Attack:
    """``connections`` to a ``service``, each with one request after the other. ``{}`` in the ``path`` is another
    number in each, or one of the names that the attacker is given. ``body`` names what is sent; without ``reads``
    the answer is left where it is. The second tenant asks ``beside``; without it, the service that is attacked.
    ``hooks``: the first tenant's webhook endpoints meanwhile, which never answer if ``dead``."""

    title: str
    service: str
    connections: int
    path: str
    body: str = ""
    reads: bool = True
    beside: str = ""
    hooks: int = 0
    dead: bool = False


_FILTER = quote("contains(tolower(relation_id),'x') or endswith(toupper(consumer_id),'Y')")
_REPLAY = "/v1/webhooks/endpoints/{}/replay"
_AROUND = "/v1/neighbours/provider/p-000001"
_HUBS = "by=degree&side=consumer"
_NEXT = "/v1/next?provider_id=p-000001&limit=100"
_FACTS = Attack(f"batches of {_EVENTS:,} new facts", "ingest", 16, "/v1/events", "facts", beside="webhooks")
_HOOKS = replace(_FACTS, title=f"{_FACTS.title} for 100 webhook endpoints", hooks=100)
ATTACKS: Mapping[str, Attack] = {
    "bodies": Attack("64 bodies of 1 MiB that never come", "ingest", 64, "/v1/events", "silent"),
    "erasures": Attack(f"batches of {_ERASURES:,} erasures", "ingest", 2, "/v1/events", "erasures"),
    "batches": Attack(f"batches of {_EVENTS:,} events", "ingest", 16, "/v1/events", "events"),
    "downloads": Attack("16 downloads that nobody reads", "exports", 16, "/v1/export/relations", reads=False),
    "cohorts": Attack("150 cohorts", "relations", 150, "/v1/measures/cohorts?unit=week"),
    "activity": Attack("150 cohorts of aggregates", "analytics", 150, "/v1/measures/cohorts?unit=week"),
    "filters": Attack("60 filters of the feed", "exports", 60, f"/odata/v1/Relations?$filter={_FILTER}"),
    "wide": Attack("16 times a relationship of 1,000 kinds", "relations", 16, "/v1/relationships/wide/wide"),
    "documents": Attack("64 times one document", "relations", 64, "/v1/providers/p-000001"),
    "lists": Attack("60 lists of 1,000", "relations", 60, "/v1/relations?provider_id=p-000001&limit=1000"),
    "around": Attack("150 times what is around a provider", "intelligence", 150, f"{_AROUND}?depth=2&limit=50"),
    "next": Attack("150 lists of whom to call", "intelligence", 150, "/v1/next?provider_id=p-000001&limit=100"),
    "central": Attack("150 lists of hubs", "intelligence", 150, f"/v1/central?{_HUBS}&limit=100"),
    "communities": Attack("150 lists of communities", "intelligence", 150, "/v1/communities?limit=200"),
    "kinds": Attack(
        "150 questions about kinds in turn", "intelligence", 150, f"/v1/central?{_HUBS}&kind=kind_{{}}"
    ),
    "weights": Attack(
        "60 lists of whom to call, each another way", "intelligence", 60, f"{_NEXT}&weights=visit:{{}}"
    ),
    "campaigns": Attack("60 campaigns of 1,000 consumers", "intelligence", 60, "/v1/campaigns", "campaign"),
    "endpoints": Attack("60 lists of webhook endpoints", "webhooks", 60, "/v1/webhooks/endpoints"),
    "facts": _FACTS,
    "hooks": _HOOKS,
    "silent": replace(_HOOKS, title=f"{_HOOKS.title} that never answer", dead=True),
    "replays": Attack("replays of 100 webhook endpoints", "webhooks", 16, _REPLAY, "replay", hooks=100),
    "apps": Attack("150 lists of applications", "apps", 150, "/v1/apps"),
    "registrations": Attack("60 registrations at once", "apps", 60, "/register", "registration"),
    "erased": Attack("150 lists of erasures", "privacy", 150, "/v1/erasures?limit=100"),
    "persons": Attack("150 exports of a person", "privacy", 150, "/v1/consumers/wide/export"),
    "audit": Attack("150 pages of the audit", "privacy", 150, "/v1/audit?limit=1000"),
    "streams": Attack("120 live streams", "analytics", 120, "/v1/live"),
}


class Attacker:
    def __init__(self, attack: Attack, port: int, key: str, names: Sequence[str] = ()) -> None:
        self._attack, self._port, self._key = attack, port, key
        self._names = cycle([quote(name, safe="") for name in names or map(str, range(_VARIED))])
        self._batches = 0
        self.statuses: Counter[str] = Counter()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(self._attack.connections):
                group.create_task(self._forever())
            print(STARTED, flush=True)

    async def _forever(self) -> None:
        while True:
            try:
                await self._once()
            except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                self.statuses["closed"] += 1
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _once(self) -> None:
        # A small window, so that what nobody reads is not kept by this kernel instead of the service.
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=2**16)
        try:
            writer.write(self._request())
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            self.statuses[head.split(b" ", 2)[1].decode()] += 1
            if not self._attack.reads and b" 200 " in head[:16]:
                await asyncio.sleep(3600)
            while await reader.read(2**16):
                pass
        finally:
            writer.close()

    def _request(self) -> bytes:
        head = f"Host: 127.0.0.1\r\nAuthorization: Bearer {self._key}\r\nConnection: close\r\n"
        path = self._attack.path.format(next(self._names))
        if self._attack.body == "silent":
            return f"POST {path} HTTP/1.1\r\n{head}Content-Length: {2**20}\r\n\r\n".encode()
        if not self._attack.body:
            return f"GET {path} HTTP/1.1\r\n{head}\r\n".encode()
        self._batches += 1
        batches = {"erasures": self._erasures, "events": self._again, "facts": self._facts}
        if (batch := batches.get(self._attack.body)) is not None:
            type, body = "cloudevents-batch+json", batch()
        else:
            type, body = "json", json.dumps(_BODIES[self._attack.body]).encode()
        head += f"Content-Type: application/{type}\r\nContent-Length: {len(body)}\r\n"
        return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body

    def _erasures(self) -> bytes:
        return json.dumps([self._erasure(number) for number in range(_ERASURES)]).encode()

    def _again(self) -> bytes:
        """The same again and again, made once: the door does not know that."""
        return self._events

    def _facts(self) -> bytes:
        """New ones each time, which all consumers of the topics store and pass on."""
        mark = f"{self._batches}-".encode()
        return self._events.replace(b"again-", b"new-" + mark).replace(b"gone-", b"new-" + mark)

    @cached_property
    def _events(self) -> bytes:
        events = [{**self._erasure(number), "type": "relation.recorded"} for number in range(_EVENTS)]
        for number, event in enumerate(events):
            names = {f"{side}_id": f"{side}-{number % 500}" for side in ("consumer", "provider")}
            event["data"] = {"relation_id": f"again-{number}", "kind": "visit", **names}
        return json.dumps(events).encode()

    def _erasure(self, number: int) -> dict[str, object]:
        name = f"gone-{self._batches}-{number}"
        return {
            "specversion": "1.0",
            "id": name,
            "source": "bench",
            "type": "consumer.erased",
            "time": "2026-01-01T00:00:00Z",
            "data": {"consumer_id": name, "mode": "anonymise"},
        }


async def _until_stopped(attacker: Attacker) -> None:
    task = asyncio.ensure_future(attacker.run())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        print(json.dumps(attacker.statuses), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=ATTACKS)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--names", nargs="*", default=[], help="what the path is about, one after the other")
    options = parser.parse_args()
    asyncio.run(_until_stopped(Attacker(ATTACKS[options.name], options.port, options.key, options.names)))


if __name__ == "__main__":
    main()
