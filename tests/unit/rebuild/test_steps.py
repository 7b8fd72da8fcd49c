"""Rebuilding in memory, stopped after any step: the service stays exact and its changes come once."""

from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from services.rebuild.build import RebuildContext, Superseded
from services.rebuild.handover import Failed, hand_over
from services.rebuild.versions import approach, drop
from tests.support.rebuild import Service


def _lives(service: Service) -> Iterator[Callable[[], Iterator[str]]]:
    """The operations of an operator's day, each by a process of its own."""
    number = 0

    def context() -> RebuildContext:
        nonlocal number
        number += 1
        return service.context(f"operator-{number}")

    def built() -> Iterator[str]:
        one = context()
        target = service.begin(one)
        yield "begun"
        service.build(one, target, steps=5)
        yield "half"
        service.build(one, target)
        yield "built"

    def switched() -> Iterator[str]:
        one = context()
        target = service.registry.read().other
        assert target is not None
        approach(one, target, None)
        yield from hand_over(one, target)

    def dropped() -> Iterator[str]:
        yield from drop(context(), lambda _: None)

    yield built
    yield switched
    yield switched
    yield switched
    yield dropped
    yield built
    yield switched


@hypothesis_settings(max_examples=60)
@given(st.data())
def test_stopped_after_any_step_it_goes_on_exactly(data: st.DataObject) -> None:
    """Each operation dies after some step, perhaps twice, while events flow and workers come; then it is done
    again (a switch, unless it was through) and the whole must be as if there had been no operation at all."""
    service = Service()
    sent = 0

    def live() -> None:
        nonlocal sent
        count = data.draw(st.integers(0, 4), label="events")
        service.send(count, start=sent)
        sent += count
        if data.draw(st.integers(0, 9), label="worker") == 0:
            service.start_worker()
        service.work(data.draw(st.integers(0, 3), label="steps"))

    service.send(30)
    sent = 30
    service.work(3)
    for operation in _lives(service):
        before = service.registry.read()
        for _ in range(data.draw(st.integers(0, 2), label="crashes")):
            survived = data.draw(st.integers(0, 12), label="dies after")
            try:
                for number, _step in enumerate(operation()):
                    live()
                    if number >= survived:
                        break
            except (Superseded, Failed):
                pass
            if data.draw(st.booleans(), label="long pause"):
                service.registry.seconds += 31
            live()
            if _through(before, service):
                break
        if not _through(before, service):
            for _step in operation():
                live()
        found = service.registry.read()
        assert found.hand_over is None or service.registry.seconds >= 0
        assert len({found.live, found.other}) == 2
    service.drain()
    service.check()


def _through(before: Any, service: Service) -> bool:
    """Whether the operation has done what it was to do."""
    found = service.registry.read()
    if before.other is None:
        return False  # building can be gone on with
    return bool(found.live != before.live or (found.other is None and found.dropping is None))
