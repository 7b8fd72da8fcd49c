"""The load on a door, as a process of its own: requests over several connections.

Prints one JSON line: ``rate`` in events per second, answered with 202 within the measured time.
"""

import argparse
import json
import threading
import time
from itertools import cycle, islice

from services.bench.events import REDELIVERED, generate
from services.bench.http import Connection, request

WARM_SECONDS = 1.0
_BODIES = 200


class Counter:
    """Events answered in the measured time, which begins after the warming up."""

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


def bodies(batch: int, seed: int) -> list[bytes]:
    """Requests' bodies of ``batch`` events each, as JSON arrays."""
    events = generate(_BODIES * batch, REDELIVERED, seed)
    return [b"[" + b",".join(event.value for event in islice(events, batch)) + b"]" for _ in range(_BODIES)]


def main() -> None:
    options = _parser().parse_args()
    requests = [
        request(options.port, "/v1/events", options.content_type, body)
        for body in bodies(options.batch, options.seed)
    ]
    counter = Counter(options.seconds)
    # Between two requests of one connection, so that all together make the rate.
    pause = options.connections * options.batch / options.rate if options.rate else 0.0
    threads = [
        threading.Thread(target=_work, args=(options.port, requests[n:], options.batch, pause, counter))
        for n in range(options.connections)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"rate": counter.events / options.seconds, "refused": counter.refused}))


def _work(port: int, requests: list[bytes], batch: int, pause: float, counter: Counter) -> None:
    connection = Connection(port)
    due = time.monotonic()
    for whole in cycle(requests):
        if (now := time.monotonic()) > counter.end:
            break
        if pause:
            due += pause
            time.sleep(max(0.0, due - now))
        counter.answered(connection.send(whole), batch)
    connection.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--rate", type=float, default=0.0, help="events/s; as fast as it goes without")
    parser.add_argument("--content-type", default="application/json")
    parser.add_argument("--seed", type=int, default=1)
    return parser


if __name__ == "__main__":
    main()
