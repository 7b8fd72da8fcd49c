"""What `kith explain` says of events, worked out from the messages of the log."""

import io
import json
import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from services.explain.find import Asked, Name, Needles
from services.explain.model import Field, Report, differences
from services.explain.view import report_json, report_view
from shared.contracts.events import ConsumerErased, Event
from shared.erasure.records import erasure_id, hashed
from shared.runtime.dead_letters import REPLAY_OF
from shared.runtime.protocols import Message, Partition
from tests.support.builders import TOPICS, MemoryKith, event, message, recorded, retracted
from tests.support.explain import explain, one, place
from tests.support.runner import analytics_of
from tests.support.strategies import events

T1, T2, T3 = "2026-05-03T10:15:00Z", "2026-05-03T11:15:00Z", "2026-05-04T00:00:00Z"


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def kith_of(*given: Event | Message, drained: bool = True) -> MemoryKith:
    kith = MemoryKith()
    for item in given:
        kith.log.append(item if isinstance(item, Message) else message(item))
    if drained:
        kith.drain()
    return kith


def purchase(id: str, time: str, amount: int, **data: Any) -> Event:
    return recorded(id, time, kind="purchase", amount=amount, currency="EUR", **data)


def moved(explanation: Any) -> dict[tuple[str, str, str, str], dict[str, Any]]:
    """(by, key, day, hour) → sums that all occurrences moved."""
    return {
        (move.by, move.key, move.day, hour): sums
        for o in explanation.occurrences
        for move in o.aggregates
        for hour, sums in move.hours.items()
    }


def test_an_accepted_purchase_shows_document_relationship_change_and_aggregates() -> None:
    explanation, [o] = one(kith_of(purchase("e1", T1, 1250)), "e1")
    assert (explanation.standing, explanation.exact, o.outcome, o.processed) == ("counts", True, "applied", True)
    assert (explanation.consumer_id, explanation.provider_id, explanation.relation_id) == ("c1", "p1", "r1")
    fact, relationship = o.documents
    assert (fact.collection, fact.id, fact.before) == ("relations", "default:c1:r1", None)
    assert Field("amount", None, 1250) in fact.fields
    assert (relationship.collection, relationship.id) == ("relationships", "default:c1:p1")
    assert Field("kinds.purchase.2026-05.amount.EUR", None, 1250) in relationship.fields
    [change] = o.changes
    assert change.id == f"kith.relations/{o.partition}/{o.offset}"
    assert (change.topic, change.partition) == ("kith.relation-changes", o.partition)
    assert change.value["data"]["after"]["amount"] == 1250
    assert moved(explanation) == {
        (by, key, "2026-05-03", "10"): {"count": 1, "amount": {"EUR": 1250}}
        for by, key in (
            ("total", ""),
            ("kind", "purchase"),
            ("provider", "p1"),
            ("consumer", "c1"),
            ("provider_kind", "p1:purchase"),
        )
    }
    assert {m.by: m.sums.get("consumers") for m in o.aggregates if "consumers" in m.sums} == {
        "total": 1,
        "provider": 1,
    }


def test_an_amendment_shows_only_what_differs() -> None:
    kith = kith_of(purchase("e1", T1, 1250), purchase("e2", T2, 1500))
    explanation, [o] = one(kith, "e2")
    assert o.reason == "it amended the relation"
    assert Field("amount", 1250, 1500) in o.documents[0].fields
    assert "kind" not in {field.field for field in o.documents[0].fields}
    totals = {key[-1]: sums for key, sums in moved(explanation).items() if key[0] == "total"}
    assert totals == {"10": {"count": -1, "amount": {"EUR": -1250}}, "11": {"count": 1, "amount": {"EUR": 1500}}}


def test_what_was_replaced_names_its_successor() -> None:
    kith = kith_of(purchase("e1", T1, 1), purchase("e2", T2, 2))
    _, [successor] = one(kith, "e2")
    explanation, [o] = one(kith, "e1")
    assert (explanation.standing, o.outcome, explanation.exact) == ("superseded", "applied", True)
    [reference] = explanation.superseded_by
    assert (reference.id, place(reference)) == ("e2", place(successor))
    assert "replaced by test/e2" in explanation.summary


def test_what_was_retracted_says_so() -> None:
    explanation, _ = one(kith_of(purchase("e1", T1, 1), retracted("e2", T2)), "e1")
    assert explanation.standing == "superseded"
    assert "retracted by test/e2" in explanation.summary


def test_an_older_version_names_the_newer_one() -> None:
    kith = kith_of(purchase("e2", T2, 2), purchase("e1", T1, 1))
    explanation, [o] = one(kith, "e1")
    assert (o.outcome, explanation.standing, o.documents, o.changes) == ("outdated", "superseded", [], [])
    assert [r.id for r in o.because] == ["e2"]
    assert o.reason.startswith("it is older than test/e2 of 2026-05-03T11:15:00Z (kith.relations/")


def test_a_duplicate_names_the_first_place() -> None:
    explanation, [first, second] = one(kith_of(purchase("e1", T1, 1), purchase("e1", T1, 1)), "e1")
    assert (first.outcome, second.outcome, explanation.standing) == ("applied", "duplicate", "counts")
    assert [place(r) for r in second.because] == [place(first)]


@pytest.mark.parametrize("swapped", [False, True])
def test_so_is_one_that_is_written_otherwise(swapped: bool) -> None:
    written = message(purchase("e1", T1, 1))
    otherwise = written._replace(value=written.value + b"  ")
    kith = MemoryKith(partitions=1)
    for each in (otherwise, written) if swapped else (written, otherwise):
        kith.log.append(each)
    kith.drain()
    explanation, found = one(kith, "e1")
    assert [o.outcome for o in found] == ["applied", "duplicate"]
    assert (explanation.standing, explanation.exact) == ("counts", True)


def test_the_same_name_with_other_content_is_a_fault_of_the_sender() -> None:
    _, found = one(kith_of(purchase("e1", T1, 5), purchase("e1", T1, 4)), "e1")
    assert [o.outcome for o in found] == ["applied", "outranked"]


def test_what_adds_nothing_to_changes_publishes_none() -> None:
    _, [o] = one(kith_of(purchase("e1", T1, 1, occurred_at=T1), purchase("e2", T2, 1, occurred_at=T1)), "e2")
    assert (o.outcome, o.changes, o.aggregates) == ("applied", [], [])
    assert "no change is published" in o.reason


def test_a_retraction_of_what_is_not_known_leaves_a_tombstone() -> None:
    _, [o] = one(kith_of(retracted("e1", T1)), "e1")
    assert "unknown relation" in o.reason
    assert [d.collection for d in o.documents] == ["relations"]


def test_what_waits_is_not_processed_and_says_what_it_will_do() -> None:
    kith = kith_of(purchase("e1", T1, 1))
    kith.publish([purchase("e2", T2, 2), purchase("e3", T3, 3)])
    explanation, [o] = one(kith, "e3")
    assert (explanation.standing, o.processed, o.behind) == ("waiting", False, 2)
    assert explanation.summary == "not processed yet: relations is 2 messages behind"
    assert Field("amount", 2, 3) in o.documents[0].fields
    before, _ = one(kith, "e1")
    assert (before.standing, before.exact) == ("counts", True)


def test_a_bad_event_is_a_dead_letter_and_the_door_was_not_asked() -> None:
    bad = b'{"specversion":"1.0","type":"relation.recorded","id":"bad","source":"s","data":{"amount":1}}'
    explanation, [o] = one(kith_of(Message("kith.relations", b"default:c1", bad)), "bad")
    assert (explanation.standing, o.outcome, explanation.type) == (
        "dead_letter",
        "dead_letter",
        "relation.recorded",
    )
    assert explanation.door.startswith("bypassed: ")
    assert o.letter is not None
    assert o.reason.startswith("dead letter (invalid: ")
    assert o.reason.endswith("open")


@pytest.mark.parametrize(
    ("mark", "end"),
    [({"replayed_at": "now"}, "replayed since"), ({"discarded_at": "now", "discard_reason": "spam"}, "spam")],
)
def test_a_closed_dead_letter_says_what_was_done(mark: dict[str, Any], end: str) -> None:
    bad = b'{"type":"unheard.of","id":"bad","source":"s"}'
    kith = kith_of(Message("kith.relations", b"default:c1", bad))
    for letter in kith.documents()["dead_letters"].values():
        letter.update(mark)
    _, [o] = one(kith, "bad")
    assert o.reason.startswith("dead letter (unknown_type: type ")
    assert o.reason.endswith(end)


def test_a_bad_event_that_waits_will_be_a_dead_letter() -> None:
    kith = kith_of(Message("kith.relations", b"k", b'{"id":"bad"}'), drained=False)
    _, [o] = one(kith, "bad")
    assert (o.outcome, o.processed, o.letter) == ("dead_letter", False, None)
    assert o.reason.startswith("it will be a dead letter (invalid: type ")


def test_an_event_in_a_topic_that_is_not_its_own() -> None:
    sent = message(purchase("e1", T1, 1))._replace(topic="kith.consumers")
    explanation, [o] = one(kith_of(sent), "e1", "consumers")
    assert explanation.standing == "dead_letter"
    assert "wrong_topic" in o.reason


def test_a_letter_counts_as_refused_though_it_could_be_read_today() -> None:
    kith = kith_of(purchase("e1", T1, 1), purchase("e2", T2, 2))
    _, [second] = one(kith, "e2")
    id = f"kith.relations/{second.partition}/{second.offset}"
    letter = {"_id": id, "reason": "unknown_version", "field": None, "detail": "too old a reader"}
    kith.documents()["dead_letters"][id] = letter
    explanation, [o] = one(kith, "e2")
    assert (o.outcome, explanation.door[:8]) == ("dead_letter", "accepted")
    first, _ = one(kith, "e1")
    assert first.standing == "counts"


def test_a_replay_names_its_dead_letter() -> None:
    sent = message(purchase("e1", T1, 1))._replace(headers=((REPLAY_OF, b"kith.relations/0/7"),))
    explanation, [o] = one(kith_of(sent), "e1")
    assert o.replay_of == "kith.relations/0/7"
    assert "replayed" in explanation.door


def upserted(id: str, time: str, **data: Any) -> Event:
    return event("consumer.upserted", id, time, {"consumer_id": "c1", **data})


def erased(id: str, time: str) -> Event:
    return event("consumer.erased", id, time, {"consumer_id": "c1", "mode": "anonymise"})


def test_after_an_erasure_a_profile_is_suppressed() -> None:
    kith = kith_of(upserted("e1", T1, personal={"name": "Ada"}), erased("e2", T2), upserted("e3", T3, traits={}))
    _, [erasure] = one(kith, "e2", "consumers")
    explanation, [o] = one(kith, "e3", "consumers")
    assert (o.outcome, explanation.standing) == ("suppressed", "erased")
    assert [place(r) for r in o.because] == [place(erasure)]
    before, [first] = one(kith, "e1", "consumers")
    assert (before.standing, first.outcome, before.exact) == ("erased", "applied", True)
    assert Field("personal.name", None, "Ada") in first.documents[0].fields


@pytest.mark.parametrize(("mode", "end"), [("delete", "nothing of it is stored"), ("anonymise", "a pseudonym")])
def test_after_an_erasure_relations_are_suppressed(mode: str, end: str) -> None:
    kith = kith_of(recorded("r1", T1, amount=5, currency="EUR"))
    kith.publish([event("consumer.erased", "e2", T2, {"consumer_id": "c1", "mode": mode})])
    kith.drain()
    kith.publish([recorded("r3", T3, "late")])
    kith.drain()
    before, [first] = one(kith, "r1")
    assert (before.standing, first.outcome, before.exact) == ("erased", "applied", True)
    after, [late] = one(kith, "r3")
    assert (after.standing, late.outcome, late.documents, late.changes) == ("erased", "suppressed", [], [])
    assert end in late.reason
    order, [carried] = one(kith, f"{erasure_id('default', 'c1')}/{mode}")
    assert (order.standing, order.exact, carried.outcome) == ("counts", True, "applied")
    assert [move.collection for move in carried.documents] == ["erased"]
    assert hashed("default", "c1") not in report_json(
        Report("r3", True, "", [before, after, order], {"messages": 0, "seconds": 0.0})
    )


def test_the_fields_of_a_profile_are_judged_one_by_one() -> None:
    partial = {"consumer_id": "c1", "personal": {"phone": None}, "traits": {"vip": False}}
    kith = kith_of(
        upserted("e1", T1, personal={"name": "Ada", "phone": "1"}, traits={"vip": True}),
        event("consumer.upserted", "e2", T2, partial, sequence="2"),
    )
    explanation, _ = one(kith, "e1", "consumers")
    assert explanation.standing == "partly"
    assert explanation.summary.startswith(
        f"personal.phone, traits.vip: replaced by test/e2 of {T2}, sequence 2 (kith.consumers/"
    )
    assert [(each.field, each.removed, each.event.id) for each in explanation.fields] == [
        ("personal.name", False, "e1"),
        ("personal.phone", True, "e2"),
        ("traits.vip", False, "e2"),
    ]
    assert [place(each.event)[0] for each in explanation.fields] == ["kith.consumers"] * 3
    screen = io.StringIO()
    report = Report("e1", True, "", [explanation], {"messages": 0, "seconds": 0.0})
    Console(file=screen, width=100).print(report_view(report))
    lines = screen.getvalue()
    assert "personal.phone (removed)" in lines
    assert f"test/e2 of {T2}, sequence 2" in lines
    assert json.loads(report_json(report))["events"][0]["fields"][1]["event"]["sequence"] == "2"


def test_a_field_that_is_older_does_not_hold_up_the_others() -> None:
    kith = kith_of(
        upserted("e2", T2, traits={"vip": False}), upserted("e1", T1, traits={"vip": True}, personal={"name": "A"})
    )
    explanation, [o] = one(kith, "e1", "consumers")
    assert (o.outcome, explanation.standing) == ("applied", "partly")
    assert [r.id for r in o.because] == ["e2"]
    older = kith_of(upserted("e2", T2, traits={"vip": True}), upserted("e1", T1, traits={"vip": None}))
    _, [outdated] = one(older, "e1", "consumers")
    assert (outdated.outcome, [r.id for r in outdated.because]) == ("outdated", ["e2"])


def test_a_field_beyond_the_limit_is_said_to_be() -> None:
    full = upserted("e2", T2, traits={f"t{n}": n for n in range(100)})
    explanation, [o] = one(kith_of(full, upserted("e1", T1, traits={"old": 1})), "e1", "consumers")
    assert (o.outcome, explanation.standing) == ("outdated", "superseded")
    assert o.reason == "the profile keeps only the fields stated latest, and all of those were stated later"
    assert "keeps only the fields stated latest" in explanation.summary
    displaced, [first] = one(kith_of(upserted("e1", T1, traits={"old": 1}), full), "e1", "consumers")
    assert (first.outcome, displaced.standing, displaced.exact) == ("applied", "superseded", True)


def test_a_profile_of_an_earlier_version_is_read_as_what_it_is() -> None:
    """As stored before fields had versions of their own: the part's version is that of each of its fields."""
    kith = kith_of(upserted("e1", T1, personal={"name": "Ada"}, traits={"vip": True, "n": 1}))
    [profile] = kith.documents()["consumers"].values()
    version = {name: part for name, part in profile["versions"][0].items() if name != "fields"}
    profile["versions"] = {"personal": version, "traits": version}
    explanation, _ = one(kith, "e1", "consumers")
    assert (explanation.standing, explanation.exact) == ("counts", True)
    assert [each.field for each in explanation.fields] == ["personal.name", "traits.n", "traits.vip"]


def test_what_states_nothing_changes_nothing() -> None:
    _, [o] = one(kith_of(upserted("e1", T1, traits={}), upserted("e2", T2)), "e2", "consumers")
    assert o.outcome == "equal"


def test_sources_and_tenants_are_told_apart() -> None:
    other = event(
        "relation.recorded",
        "e1",
        T1,
        {"relation_id": "r9", "kind": "view", "consumer_id": "c1", "provider_id": "p1"},
        source="other",
        tenant="acme",
    )
    kith = kith_of(recorded("e1", T1), other)
    assert {(e.tenant, e.source) for e in explain(kith, "e1")} == {("default", "test"), ("acme", "other")}
    assert [e.source for e in explain(kith, "e1", source="other")] == ["other"]
    assert [e.tenant for e in explain(kith, "e1", tenant="default")] == ["default"]
    assert explain(kith, "nothing") == []


def test_a_key_that_moved_to_another_partition_is_one_history() -> None:
    one_, other = Partition("kith.relations", 0), Partition("kith.relations", 1)
    kith = kith_of(
        message(purchase("e2", T2, 2))._replace(partition=one_.number),
        message(purchase("e1", T1, 1))._replace(partition=other.number),
    )
    explanation, [o] = one(kith, "e1")
    assert (o.outcome, explanation.exact) == ("outdated", True)


def test_a_document_that_is_not_the_fold_of_the_log_is_not_exact() -> None:
    kith = kith_of(purchase("e1", T1, 1))
    kith.documents()["relations"]["default:c1:r1"]["amount"] = 2
    explanation, _ = one(kith, "e1")
    assert explanation.exact is False


@given(st.lists(events(), max_size=30))
def test_all_events_explained_add_up_to_what_is_stored(history: list[Event]) -> None:
    # What becomes a pseudonym's is not told.
    history = [e for e in history if not (isinstance(e, ConsumerErased) and e.data.mode == "anonymise")]
    kith = kith_of(*history)
    sums: Counter[tuple[str, ...]] = Counter()
    orders = {f"{erasure}/delete" for erasure in kith.documents()["erasures"]}
    for id in {e.id for e in history} | orders:
        for topic in ("consumers", "providers", "relations"):
            for explanation in explain(kith, id, topic):
                assert explanation.exact is True, explanation
                for o in explanation.occurrences:
                    for move in o.aggregates:
                        sums.update(flat(move.id, move.hours, move.sums.get("consumers", 0)))
    stored: Counter[tuple[str, ...]] = Counter()
    for document in analytics_of(kith).collections["aggregates"].values():
        stored.update(flat(document["_id"], document["hours"], document.get("consumers", 0)))
    assert {k: v for k, v in sums.items() if v} == {k: v for k, v in stored.items() if v}


def flat(id: str, hours: dict[str, Any], consumers: int) -> dict[tuple[str, ...], int]:
    found: dict[tuple[str, ...], int] = {(id, "consumers"): consumers}
    for hour, sums in hours.items():
        for name, value in {**sums, **sums.get("amount", {})}.items():
            if name not in ("amount", "amount_count"):
                found[id, hour, name] = value
    return found


def test_differences_go_into_documents_and_tell_types_apart() -> None:
    before = {"a": {"b": 1, "c": [1]}, "d": 1}
    after = {"a": {"b": 2, "c": [1]}, "d": True, "e": {"f": "x"}}
    assert differences(before, after) == [Field("a.b", 1, 2), Field("d", 1, True), Field("e.f", None, "x")]
    assert differences(after, after) == []


@pytest.mark.parametrize(
    ("id", "value", "may_be"),
    [
        ("e-1", b'{"id":"e-1"}', True),
        ("e-1", b'{"id":"e-2"}', False),
        ("caf\u00e9", '{"id":"caf\u00e9"}'.encode(), True),
        ("caf\u00e9", b'{"id":"caf\\u00e9"}', True),
        ('say "hi"', b'{"id":"say \\"hi\\""}', True),
        ("a/b", b'{"id":"a\\/b"}', True),
        ("e-1", None, False),
    ],
)
def test_needles_find_an_id_however_json_writes_it(id: str, value: bytes | None, may_be: bool) -> None:
    assert Needles([id]).may_be_in(value) is may_be


def test_what_cannot_be_read_of_a_broken_event_may_be_meant() -> None:
    kith = kith_of(Message(TOPICS.name("relations"), b"k", b'{"id":"bad","tenant":5}'))
    [explanation] = explain(kith, "bad", source="shop", tenant="acme")
    assert (explanation.source, explanation.tenant) == (None, None)
    assert not Asked("bad").admits(Name(None, None, "other"))


def shown(kith: MemoryKith, id: str, topic: str = "relations") -> str:
    found = explain(kith, id, topic)
    read = {"messages": 1234, "topics": [], "since": None, "until": None, "seconds": 0.1}
    console = Console(file=io.StringIO(), width=80)
    console.print(report_view(Report(id, bool(found), "nobody knows it", found, read)))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_terminal_shows_it_within_eighty_columns() -> None:
    text = shown(kith_of(purchase("e1", T1, 1250), purchase("e2", T2, 1500)), "e2")
    assert max(map(len, text.splitlines())) <= 80
    for part in (
        "amount  1250 → 1500",
        "EUR -1,250",
        "EUR +1,500",
        "provider_kind p1:purchase",
        "read 1,234 messages",
    ):
        assert part in text, part
    assert "fingerprint" not in text


def test_what_came_from_outside_does_no_harm_to_a_terminal() -> None:
    id = "\x1b[2J[red]"
    kith = kith_of(Message("kith.relations", b"k", json.dumps({"id": id, "type": "\x1b]0;x\x07"}).encode()))
    text = shown(kith, id)
    assert "\x1b" not in text
    assert "\\x1b[2J[red]" in text


def test_what_is_not_found_says_so() -> None:
    text = shown(kith_of(), "nobody")
    assert "nobody: not found" in text
    assert "nobody knows it" in text


def test_the_json_has_times_and_bytes_as_text() -> None:
    explanation, _ = one(kith_of(upserted("e1", T1, personal={"name": "Ada"})), "e1", "consumers")
    report = json.loads(report_json(Report("e1", True, "", [explanation], {})))
    [event] = report["events"]
    assert event["time"] == T1
    [o] = event["occurrences"]
    assert o["arrived"].endswith("Z")
    assert o["documents"][0]["fields"][0].keys() == {"field", "before", "after"}
    assert o["changes"][0]["value"]["type"] == "consumer.changed"
