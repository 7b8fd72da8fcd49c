"""Load on a door, in its own process: requests over several connections.

Prints one JSON line: ``rate`` is the number of events per second answered with 202 in the measured time.
"""

import argparse
import json
import random
import threading
import time
from collections.abc import Iterator
from functools import partial
from itertools import cycle, islice

from services.bench.events import REDELIVERED, generate
from services.bench.http import Connection, request

WARM_SECONDS = 1.0
STARTED = "started"
_BODIES, _ENDLESS = 200, 1_000_000


class Counter:
    """Counts the events answered in the measured time, which begins after the warm-up."""

    def __init__(self, seconds: float) -> None:
        self.start = time.monotonic() + WARM_SECONDS
        self.end = self.start + seconds
        self.events = 0
        self.refused = 0
        self._lock = threading.Lock()

    def answered(self, status: int, events: int) -> None:
        if not self.start <= time.monotonic() <= self.end:
            return
        with self._lock:
            if status == 202:
                self.events += events
            else:
                self.refused += events


def bodies(batch: int, seed: int, count: int) -> Iterator[bytes]:
    """``count`` requests' bodies of ``batch`` events each, as JSON arrays."""
    events = generate(count * batch, REDELIVERED, seed, consumers=20_000, providers=2_000)
    while some := [event.value for event in islice(events, batch)]:
        yield b"[" + b",".join(some) + b"]"


class Source:
    """Requests for several threads: with a rate, made as needed; without one, made beforehand and sent
    repeatedly."""

    def __init__(self, options: argparse.Namespace) -> None:
        made = bodies(options.batch, options.seed, _ENDLESS if options.rate else _BODIES)
        whole = (request(options.port, "/v1/events", options.content_type, body) for body in made)
        self._requests = whole if options.rate else cycle(list(whole))
        self._lock = threading.Lock()

    def next(self) -> bytes:
        with self._lock:
            return next(self._requests)


def main() -> None:
    options = _parser().parse_args()
    source = Source(options)
    print(STARTED, flush=True)
    counter = Counter(options.seconds)
    # The pause between two requests of one connection that gives the total rate.
    pause = options.connections * options.batch / options.rate if options.rate else 0.0
    work = partial(_work, options.port, source, options.batch, pause, counter)
    threads = [threading.Thread(target=work) for _ in range(options.connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"rate": counter.events / options.seconds, "refused": counter.refused}))


def _work(port: int, source: Source, batch: int, pause: float, counter: Counter) -> None:
    connection = Connection(port)
    # Spread over the first pause, so that the connections do not send in step.
    due = time.monotonic() + random.random() * pause
    while (now := time.monotonic()) < counter.end:
        if pause:
            time.sleep(max(0.0, due - now))
            due += pause
        counter.answered(connection.send(source.next()), batch)
    connection.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--rate", type=float, default=0.0, help="events/s (default: as fast as possible)")
    parser.add_argument("--content-type", default="application/json")
    parser.add_argument("--seed", type=int, default=1)
    return parser


if __name__ == "__main__":
    main()
