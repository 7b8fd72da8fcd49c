"""What was shown, on a real MongoDB: what followed it is a function of the facts, whatever happens."""

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from services.intelligence.follower import Follower
from services.intelligence.outcomes import recorder, touched
from services.intelligence.outcomes.recorder import Recorder
from services.intelligence.outcomes.report import OutcomesQuery, report
from services.intelligence.outcomes.shown import Recording, pairs_of
from services.intelligence.outcomes.store import OutcomeStore
from services.intelligence.outcomes.touched import Touched
from services.intelligence.scan import MongoSource
from services.intelligence.schema import COLLECTIONS
from shared.contracts.errors import Unavailable
from shared.contracts.events import Event
from shared.contracts.topic_names import CHANGES
from shared.erasure.derived import forget
from shared.mongo.store import prepare
from shared.runtime.protocols import Document
from shared.testing.memory import MemoryTail
from tests.support.builders import TOPICS, event, recorded, retracted
from tests.support.intelligence import EVERYTHING
from tests.support.relations_driver import Mongo, MongoKith

SHOWN = datetime.fromisoformat("2026-10-05T12:00:00Z")


AS_OF = {"positions": {"r/0": 3}, "month": "2026-10", "half_life_months": 6.0, "beta": 0.4, "model": "walk"}


class Process:
    """A process of intelligence over a kith; ``follow`` takes what the log has and what it means for outcomes."""

    def __init__(self, kith: MongoKith, database: Mongo, recording: Recording = EVERYTHING, **more: Any) -> None:
        prepare(database, COLLECTIONS)
        source = MongoSource(database, {})
        moved = Touched()
        topics = [TOPICS.name(short) for short in CHANGES.values()]
        self.now = SHOWN
        self.follower = Follower(
            lambda: MemoryTail(kith.memory.log, topics),
            source,
            TOPICS,
            erased=lambda tenant, id: forget(database, tenant, [id]),
            listener=moved,
        )
        self.recorder = Recorder(
            OutcomeStore(database, str),
            self.follower,
            moved,
            recording,
            source.granted,
            lambda tenant, ids: forget(database, tenant, ids),
            lambda: self.now,
            **more,
        )
        self.follower.once(rounds=2)
        self.tail = self.follower._open_tail()
        self.recorder.look()

    def follow(self) -> None:
        self.follower._take(self.tail)
        self.recorder.look()

    def show(self, side: Any, id: str, others: Sequence[str]) -> None:
        far = "provider_id" if side == "consumer" else "consumer_id"
        items = [{far: other, "rank": rank, "score": 1 / rank} for rank, other in enumerate(others, 1)]
        self.recorder.show("default", side, id, {"items": items, "as_of": AS_OF})


def fact(id: str, day: int, consumer: str, provider: str) -> Event:
    return recorded(f"e-{id}", f"2026-10-{day:02d}T15:00:00Z", id, consumer_id=consumer, provider_id=provider)


def lists(database: Mongo) -> list[Document]:
    return list(database["outcomes"].find({}, max_time_ms=5_000).sort("_id", 1))


def followed(database: Mongo) -> set[tuple[str, str]]:
    return {
        pair
        for shown in lists(database)
        for pair, item in zip(pairs_of(shown), shown["items"], strict=True)
        if "followed" in item
    }


@pytest.fixture
def kith(mongo_database: Mongo) -> MongoKith:
    found = MongoKith(mongo_database)
    # Everybody is in the graph.
    found.store([fact(f"old-{n}", 1, f"c{n}", "home") for n in range(6)])
    return found


def test_what_followed_is_what_the_facts_say_in_whatever_order(kith: MongoKith, mongo_database: Mongo) -> None:
    one, two = Process(kith, mongo_database), Process(kith, mongo_database)
    providers = [f"p{n}" for n in range(4)]
    for n in range(3):
        one.show("consumer", f"c{n}", providers)
    two.show("provider", "p0", [f"c{n}" for n in range(3, 6)])
    two.show("consumer", "c0", list(reversed(providers)))  # on the same day: counts once
    one.follow()
    two.follow()
    assert len(lists(mongo_database)) == 4
    dice = random.Random(5)
    events: list[Event] = []
    for number in range(40):
        consumer, provider = f"c{dice.randrange(6)}", f"p{dice.randrange(4)}"
        # Before the list, within the window, and after it; some of them late.
        month, day = dice.choice([(10, 2), (10, 6), (10, 20), (11, 20)])
        time = f"2026-{month}-{day:02d}T15:00:00Z"
        events.append(recorded(f"e{number}", time, f"r{number}", consumer_id=consumer, provider_id=provider))
        if dice.random() < 0.4:
            gone = f"2026-12-{1 + number % 20:02d}T15:00:00Z"
            events.append(retracted(f"g{number}", gone, f"r{number}", consumer_id=consumer))
    for start in range(0, len(events), 7):
        kith.store(events[start : start + 7])
        dice.choice([one, two]).follow()
    # One of them has not followed everything, and works on older changes than the other one.
    one.follow()
    two.follow()
    live = {
        (each["consumer_id"], each["provider_id"])
        for each in mongo_database["relations"].find({"retracted": False}, max_time_ms=5_000)
        if SHOWN <= each["time"] <= SHOWN + timedelta(days=30)
    }
    shown = {pair for each in lists(mongo_database) for pair in pairs_of(each)}
    assert followed(mongo_database) == live & shown
    assert 0 < len(live & shown) < len(shown)
    # Once more changes nothing: no document is written again.
    before = lists(mongo_database)
    one.recorder._touched.scanned()
    one.recorder.look()
    assert lists(mongo_database) == before


def test_what_happened_while_nobody_followed_is_found(kith: MongoKith, mongo_database: Mongo) -> None:
    one = Process(kith, mongo_database)
    one.show("consumer", "c1", ["p1", "p2"])
    one.show("consumer", "c2", ["p1"])
    one.follow()
    kith.store([fact("a", 6, "c1", "p1")])
    one.follow()
    kith.store([retracted("g", "2026-10-07T00:00:00Z", "a", consumer_id="c1"), fact("b", 7, "c2", "p1")])
    assert followed(mongo_database) == {("c1", "p1")}
    two = Process(kith, mongo_database)
    assert followed(mongo_database) == {("c2", "p1")}
    assert not two.recorder._comparing


def test_a_relation_that_was_faster_than_the_list_counts(kith: MongoKith, mongo_database: Mongo) -> None:
    one = Process(kith, mongo_database)
    one.show("consumer", "c1", ["p1"])
    kith.store([fact("a", 6, "c1", "p1")])
    one.follower._take(one.tail)
    one.recorder._match(one.recorder._touched.take())
    one.recorder.look()
    assert followed(mongo_database) == {("c1", "p1")}


def test_the_report_counts_lists_whose_window_has_ended(kith: MongoKith, mongo_database: Mongo) -> None:
    one = Process(kith, mongo_database)
    one.show("consumer", "c1", ["p1", "p2"])
    one.show("consumer", "c2", ["p2"])
    one.now = SHOWN + timedelta(days=20)
    one.show("consumer", "c3", ["p1"])
    kith.store([fact("a", 6, "c1", "p2")])
    one.follow()
    found = report(one.recorder.store, EVERYTHING, "default", OutcomesQuery(), now=SHOWN + timedelta(days=31))
    [walk] = found["models"]
    assert (found["open"], walk["model"]) == (1, "walk")
    assert (walk["lists"]["shown"], walk["lists"]["followed"], walk["items"]["shown"]) == (2, 1, 3)
    assert [(each["rank"], each["shown"], each["followed"]) for each in walk["by_rank"]] == [(1, 2, 0), (2, 1, 1)]
    assert walk["items"]["low"] < 1 / 3 == walk["items"]["rate"] < walk["items"]["high"]
    other = report(one.recorder.store, EVERYTHING, "acme", OutcomesQuery(), now=SHOWN + timedelta(days=31))
    assert other["models"] == []


def test_an_erased_consumer_leaves_and_does_not_come_back(kith: MongoKith, mongo_database: Mongo) -> None:
    one = Process(kith, mongo_database)
    one.show("consumer", "c1", ["p1"])
    one.show("provider", "p2", ["c1", "c2"])
    one.follow()
    # Shown, but not stored yet when the erasure comes.
    one.show("provider", "p3", ["c1", "c4"])
    one.now += timedelta(days=1)
    one.show("consumer", "c1", ["p1"])
    kith.store([event("consumer.erased", "x", "2026-10-06T00:00:00Z", {"consumer_id": "c1", "mode": "delete"})])
    kith.store([])  # the erasure, forwarded to the topic of facts
    one.follow()
    left = lists(mongo_database)
    assert "c1" not in str(left)
    assert [(each["id"], each["consumers"]) for each in left] == [("p2", ["c2"]), ("p3", ["c4"])]
    assert (one.recorder.left_out, one.recorder.dropped) == (1, 0)


def consent(id: str, consumer: str, granted: bool) -> Event:
    said = {"consumer_id": consumer, "consent": {"advice": granted}}
    return event("consumer.upserted", id, f"2026-10-{id}T00:00:00Z", said)


def test_only_who_has_granted_the_purpose_is_recorded_until_they_withdraw(
    kith: MongoKith, mongo_database: Mongo
) -> None:
    recording = Recording(1.0, timedelta(days=30), timedelta(days=180), [{"*": "advice"}])
    one = Process(kith, mongo_database, recording)
    kith.store([consent("01", "c1", True), consent("02", "c2", False), consent("03", "c3", True)])
    one.follow()
    for consumer in ("c1", "c2", "c3", "c4"):
        one.show("consumer", consumer, ["p1"])
    one.show("provider", "p2", ["c1", "c2", "c3"])
    one.follow()
    assert [each["consumers"] for each in lists(mongo_database)] == [["c1"], ["c3"], ["c1", "c3"]]
    kith.store([consent("04", "c1", False)])
    one.follow()
    assert [each["consumers"] for each in lists(mongo_database)] == [["c3"], ["c3"]]
    # Where the graph needs another purpose, both are needed.
    one.recorder.recording = Recording(
        1.0, timedelta(days=30), timedelta(days=180), [{"*": "advice"}, {"*": "mail"}]
    )
    one.now += timedelta(days=1)
    one.show("consumer", "c3", ["p1"])
    one.follow()
    assert len(lists(mongo_database)) == 2
    # Withdrawn while nobody followed.
    kith.store([consent("05", "c3", False)])
    Process(kith, mongo_database, recording)
    assert "c3" not in str(lists(mongo_database))


def test_too_many_lists_are_dropped_and_counted(kith: MongoKith, mongo_database: Mongo) -> None:
    one = Process(kith, mongo_database, waiting=2)
    for n in range(5):
        one.show("consumer", f"c{n}", ["p1"])
    one.follow()
    assert (len(lists(mongo_database)), one.recorder.recorded, one.recorder.dropped) == (2, 2, 3)


def test_a_tenant_whose_lists_wait_displaces_nobody_elses(
    kith: MongoKith, mongo_database: Mongo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "OF_TENANT", 2)
    one = Process(kith, mongo_database)
    answer = {"items": [{"provider_id": "p1", "rank": 1, "score": 1.0}], "as_of": AS_OF}
    for n in range(5):
        one.recorder.show("default", "consumer", f"c{n}", answer)
    one.recorder.show("other", "consumer", "c1", answer)
    assert (one.recorder.waiting, one.recorder.dropped) == (3, 3)
    one.follow()
    one.recorder.show("default", "consumer", "c9", answer)
    assert (one.recorder.waiting, one.recorder.dropped) == (1, 3), "what is stored does not wait any more"


def test_of_a_tenant_that_moves_too_much_all_lists_are_compared_and_of_nobody_else(
    kith: MongoKith, mongo_database: Mongo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(touched, "MOST", 2)
    one = Process(kith, mongo_database)
    for n in range(1, 4):
        one.show("consumer", f"c{n}", ["p1"])
    one.follow()
    kith.store([fact(f"f{n}", 6, f"c{n}", "p1") for n in range(1, 4)])
    compared: list[str] = []
    page = one.recorder.store.page

    def noted(tenant: str, after: str, size: int) -> Any:
        compared.append(tenant)
        return page(tenant, after, size)

    monkeypatch.setattr(one.recorder.store, "page", noted)
    one.follow()
    assert followed(mongo_database) == {(f"c{n}", "p1") for n in range(1, 4)}
    assert compared == ["default"]


def test_nothing_that_follows_is_lost_while_mongodb_is_unavailable(
    kith: MongoKith, mongo_database: Mongo, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Process(kith, mongo_database)
    one.show("consumer", "c1", ["p1"])
    one.follow()
    kith.store([fact("a", 6, "c1", "p1")])
    one.follower._take(one.tail)

    def away(*_: object) -> Any:
        raise Unavailable("MongoDB is unavailable")

    with monkeypatch.context() as patched:
        patched.setattr(one.recorder.store, "of", away)
        with pytest.raises(Unavailable):
            one.recorder.look()
    one.recorder.look()
    assert followed(mongo_database) == {("c1", "p1")}


def test_mongodb_deletes_lists_when_they_have_expired(kith: MongoKith, mongo_database: Mongo) -> None:
    Process(kith, mongo_database)
    index = mongo_database["outcomes"].index_information()["expires_1"]
    assert index["expireAfterSeconds"] == 0
