"""Shared by the commands of `kith rebuild`: interruption, catching up, and output."""

import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import typer

from services.rebuild.build import RebuildContext
from services.rebuild.versions import approach
from services.rebuild.view import Meter


class Interrupted(Exception):
    """Ctrl-C or SIGTERM arrived before the command was done."""


def catch_up(context: RebuildContext, target: int, rate: float, stop: threading.Event, as_json: bool) -> None:
    """Fold the version until it is close to the live one. Raises Interrupted."""
    meter = Meter(context, target, {}, as_json=as_json)

    check = ending(stop)

    def tick() -> None:
        check()
        meter.look()

    approach(context, target, rate or None, tick)
    if meter.progress is not None:
        meter.end()


def report(text: str, as_json: bool, **fields: Any) -> None:
    """Print a sentence, or ``fields`` and the sentence as a line of JSON."""
    typer.echo(json.dumps({**fields, "detail": text}) if as_json else text)


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, so that the running step ends in order."""
    stop = threading.Event()

    def asked(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ending(stop: threading.Event) -> Callable[[], None]:
    """A function that raises Interrupted once ``stop`` is set."""

    def tick() -> None:
        if stop.is_set():
            raise Interrupted

    return tick
