"""When a worker says what, against a clock."""

from itertools import pairwise
from unittest.mock import Mock, patch

from pymongo.errors import PyMongoError

from shared.observability import heartbeat
from shared.observability.heartbeat import BEHIND_SECONDS, EVERY_SECONDS, Heartbeat


def beats(each_takes: float, seconds: float, *, fails: bool = False) -> list[float]:
    """When a worker that is behind beats, if each request takes so long."""
    now, at = 0.0, list[float]()
    made = Heartbeat(Mock(), "relations", "host/1", dict, behind=lambda: 1.0)

    def pass_time(length: float) -> bool:
        nonlocal now
        now += length
        return now >= seconds

    def beat() -> None:
        at.append(now)
        pass_time(each_takes)
        if fails:
            raise PyMongoError("away")

    clock = Mock(monotonic=lambda: now)
    with (
        patch.object(heartbeat, "time", clock),
        patch.object(made, "_stop", Mock(wait=pass_time)),
        patch.object(made, "beat", beat),
        patch.object(made, "say_behind", lambda: pass_time(each_takes)),
    ):
        made._work()
    return at


def test_a_worker_is_not_silent_because_it_says_slowly_how_far_it_is_behind() -> None:
    for each_takes in (0.0, 0.3, 0.9):
        found = beats(each_takes, 20.0)
        gaps = [after - before for before, after in pairwise(found)]
        assert found[0] == 0.0
        assert min(gaps) >= EVERY_SECONDS - 0.001
        assert max(gaps) <= EVERY_SECONDS + BEHIND_SECONDS + each_takes + 0.001


def test_a_beat_that_is_lost_is_not_made_up_for_at_once() -> None:
    assert len(beats(0.0, 20.0, fails=True)) <= 20 / EVERY_SECONDS
