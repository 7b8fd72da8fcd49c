"""Posts the market's events to the door and checks every verdict."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

import httpx
import orjson

from services.demo.market import Emission
from services.demo.wire import Event
from shared.contracts.errors import ConfigurationError, Unavailable

#: How long the door may be unavailable before the emitter gives up.
PATIENCE_SECONDS = 120.0
#: Statuses after which the same is sent again later: too much was sent for now, or Kafka is away.
LATER = (429, 503)
_MOST_SURPRISES = 20


class Emitter:
    """Sends ``emissions`` in batches from a few threads; ``accepted`` is called with each accepted event.

    Sending again after a 429, a 503 or a broken connection is safe, because ``(source, id)`` names an event. The
    counters only rise and may be read at any time from any thread. ``surprises`` are verdicts that differ from
    what the market expects: they make the run inexact.
    """

    def __init__(
        self,
        ingest: str,
        emissions: Iterator[Emission],
        accepted: Callable[[Event], None],
        *,
        batch: int = 250,
        threads: int = 2,
        rate: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """``ingest`` is the door's address, ``rate`` the total events per second (None: as fast as possible);
        ``headers`` are sent with every request."""
        self.sent = self.accepted = self.rejected = self.retries = 0
        self.surprises: list[str] = []
        self._take_in = accepted
        self._erased: set[Any] = set()
        self._emissions = emissions
        self._rate = rate
        self._batch = batch if rate is None else max(1, min(batch, int(rate / 5)))
        self._due = time.monotonic()
        self._reading, self._counting = threading.Lock(), threading.Lock()
        self._stop = threading.Event()
        self._error: BaseException | None = None
        # No proxy, even if the environment sets one: the door is on this machine.
        self._client = httpx.Client(base_url=ingest, timeout=30, trust_env=False, headers=headers)
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(threads)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    @property
    def running(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def finish(self) -> None:
        """Wait for the last answer. Raises Unavailable if the door stayed unavailable, ConfigurationError if it
        rejected a request, and any other error of a thread."""
        for thread in self._threads:
            thread.join()
        self._client.close()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Send no more requests; pending ones are answered first."""
        self._stop.set()

    def _work(self) -> None:
        try:
            while not self._stop.is_set() and (batch := self._next()):
                self._account(batch, self._post(batch))
        except BaseException as error:
            self._error = self._error or error
            self._stop.set()

    def _next(self) -> list[Emission]:
        with self._reading:
            batch = list(islice(self._emissions, self._batch))
            if self._rate is not None and batch:
                wait = self._due - time.monotonic()
                self._due = max(self._due, time.monotonic()) + len(batch) / self._rate
                if wait > 0:
                    self._stop.wait(wait)
        return batch

    def _post(self, batch: list[Emission]) -> dict[str, Any]:
        content = orjson.dumps([event for event, _ in batch])
        headers = {"Content-Type": "application/cloudevents-batch+json"}
        give_up = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                answer = self._client.post("/v1/events", content=content, headers=headers)
            except httpx.TransportError as error:
                trouble, wait = f"{type(error).__name__}: {error}", 0.5
            else:
                if answer.status_code not in LATER:
                    return _verdicts(answer)
                trouble, wait = answer.text[:300], _retry_after(answer)
            if time.monotonic() + wait > give_up:
                raise Unavailable(f"the door accepted nothing for {PATIENCE_SECONDS:.0f} s: {trouble}")
            with self._counting:
                self.retries += 1
            if self._stop.wait(wait):
                raise Unavailable(f"stopped while the door was unavailable: {trouble}")

    def _account(self, batch: list[Emission], verdicts: dict[str, Any]) -> None:
        rejected = {each["index"]: each for each in verdicts["rejected"]}
        self._erased |= {_subject(event) for event, _ in batch if event.get("type") == "consumer.erased"}
        with self._counting:
            for index, (event, flaw) in enumerate(batch):
                if index not in rejected:
                    if flaw is None:
                        self._take_in(event)
                    else:
                        self._surprise(f"event {event['id']} was accepted in spite of its flaw: {flaw}")
                elif rejected[index]["reason"] == "suppressed" and _subject(event) in self._erased:
                    pass  # events of an erased consumer are rejected
                elif flaw is None:
                    why = rejected[index]
                    self._surprise(f"event {event['id']} was rejected: {why['reason']} {why['field']}")
            if verdicts["accepted"] + len(rejected) != len(batch):
                self._surprise(f"{len(batch)} events were sent, but the answer covers others: {verdicts}"[:300])
            self.sent += len(batch)
            self.accepted += verdicts["accepted"]
            self.rejected += len(rejected)

    def _surprise(self, text: str) -> None:
        if len(self.surprises) < _MOST_SURPRISES:
            self.surprises.append(text)


def _subject(event: dict[str, Any]) -> Any:
    return event["data"].get("consumer_id")


def _verdicts(answer: httpx.Response) -> dict[str, Any]:
    if answer.status_code in (202, 400):
        body: dict[str, Any] = answer.json()
        if "accepted" in body:
            return body
    raise ConfigurationError(f"the door answered {answer.status_code}: {answer.text[:300]}")


def _retry_after(answer: httpx.Response) -> float:
    value = answer.headers.get("Retry-After", "")
    return float(value) if value.isdecimal() else 1.0
