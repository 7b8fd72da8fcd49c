"""The soak test: ``python -m tests.fault.soak MINUTES [--seed 7] [--three]``.

Several workers of both services under a steady load, and a random fault every few seconds, from a seed. What is
stored is compared with a fold of the log all the while and at the end. The status is 0 when nothing was wrong.
"""

import argparse
import logging
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from pymongo.errors import PyMongoError

from shared.contracts.errors import Unavailable
from tests.fault.conftest import CLIENTS, FaultServers, start_servers, start_three
from tests.fault.load import Item, market_items
from tests.fault.nemesis import CREW, MAX_POLL_SECONDS, Nemesis
from tests.fault.nodes import nodes_of
from tests.fault.system import System, memory_mb
from tests.fault.test_poison import poison

CHECK_SECONDS = 20.0
WARM_UP_SECONDS = 15.0
DRAIN_SECONDS = 300.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("minutes", type=float, help="how long faults go on; a fraction is fine")
    parser.add_argument("--seed", type=int, default=1, help="of the faults and of the events (default 1)")
    parser.add_argument("--rate", type=float, default=100.0, help="events a second (default 100)")
    parser.add_argument("--client", choices=CLIENTS, default=CLIENTS[0], help="the Kafka client of the workers")
    parser.add_argument("--three", action="store_true", help="on three brokers and a replica set of three")
    chosen = parser.parse_args()
    # Servers come and go here, and the client tells of it at length.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="kith-soak-") as name, ExitStack() as exit:
        folder = Path(name)
        servers = exit.enter_context((start_three if chosen.three else start_servers)(folder))
        system = System(
            servers.kafka,
            servers.mongo,
            folder,
            "soak",
            kafka_client=chosen.client,
            session_timeout_ms=6_000,
            max_poll_interval_ms=MAX_POLL_SECONDS * 1000,
            slice_events=200,
        )
        soak = Soak(system, chosen.minutes * 60, chosen.seed, chosen.rate)
        exit.enter_context(system)
        exit.callback(servers.heal)
        soak.run(servers)
        print(soak.report(), flush=True)
        return 1 if soak.wrong else 0


def items(seconds: float, rate: float, seed: int) -> Iterator[Item]:
    """A market's events, of which one in fifty comes again at some time, and one in a hundred is poison."""
    random = Random(seed)
    earlier: list[Item] = []
    count = int(2 * seconds * rate) + 1_000
    for number, item in enumerate(market_items(count, seed)):
        yield item
        if random.random() < 0.02:
            earlier.append(item)
        if earlier and random.random() < 0.02:
            yield random.choice(earlier)
        if random.random() < 0.01:
            yield poison(number)


class Soak:
    """One run. ``wrong`` is empty when the invariant held."""

    def __init__(self, system: System, seconds: float, seed: int, rate: float) -> None:
        self._system, self._seconds, self._seed, self._rate = system, seconds, seed, rate
        self._nemesis = Nemesis(system, seed, self._log)
        self._began = time.monotonic()
        self._memory: list[tuple[str, float, float]] = []
        self._events = 0
        self.wrong: list[str] = []

    def run(self, servers: FaultServers) -> None:
        self._nemesis.start()
        load = self._system.load(items(self._seconds, self._rate, self._seed), rate=self._rate)
        self._system.watch.every = CHECK_SECONDS
        self._system.watch.busy = lambda: load.running
        time.sleep(min(WARM_UP_SECONDS, self._seconds / 4))
        veterans = [next(w for w in self._system.workers if w.name == f"{service}-1") for service in CREW]
        before = [memory_mb(worker) for worker in veterans]
        deadline, late = self._began + self._seconds, self._began + self._seconds * 0.85
        try:
            while time.monotonic() < deadline:
                self._nemesis.strike()
                if time.monotonic() > late and not self._system.grown:
                    self._nemesis.add_partitions()
        except (PyMongoError, Unavailable) as error:
            self.wrong.append(f"the faults ended early: {type(error).__name__}: {error}")
        except KeyboardInterrupt:
            self._log("interrupted: the check at the end")
        load.cut()
        servers.heal()
        self._nemesis.muster()
        self._memory = [
            (worker.name, start, memory_mb(worker))
            for worker, start in zip(veterans, before, strict=True)
            if worker.running
        ]
        try:
            self._system.wait_drained(DRAIN_SECONDS)
            self.wrong += self._system.findings()
        except AssertionError as error:
            self.wrong += [*self._system.watch.wrong, f"at the end: {error}"]
        self.wrong += self._nemesis.wrong
        self._events = self._system.stored()

    def report(self) -> str:
        lasted = time.monotonic() - self._began
        survived = self._nemesis.survived
        watch, letters = self._system.watch, self._system.database.dead_letters.count_documents({})
        width = max((len(kind) for kind in survived), default=0)
        lines = [
            f"Soak of {lasted / 60:.1f} minutes with {self._system.settings.kafka_client}, seed {self._seed}",
            f"  servers           {len(nodes_of(self._system.kafka))} of each",
            f"  workers           {', '.join(f'{count} of {service}' for service, count in CREW.items())}",
            f"  events            {self._events:,} stored, {self._rate:.0f} a second sent",
            f"  changes           {self._system.stored('analytics'):,} counted",
            f"  dead letters      {letters:,}",
            f"  longest stall     {watch.longest_stall:.1f} s without anything stored while events came",
            f"  longest recovery  {self._nemesis.longest_recovery:.1f} s until both services go on after a fault",
            *(
                f"  memory            {name}: {start:.0f} MB, then {end:.0f} MB"
                for name, start, end in self._memory
            ),
            f"  faults survived   {survived.total()}",
            *(f"    {kind:<{width}}  {count:>4}" for kind, count in sorted(survived.items())),
            f"  invariant         checked {watch.checks} times under way, and at the end: "
            + (f"BROKEN, {len(self.wrong)} findings" if self.wrong else "held"),
        ]
        return "\n".join([*lines, *(f"    {finding}" for finding in self.wrong[:40])])

    def _log(self, text: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - self._began), 60)
        print(f"{datetime.now(UTC):%H:%M:%S} {minutes:3}:{seconds:02} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
