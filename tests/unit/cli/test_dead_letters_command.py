"""`kith dead-letters`, the pure part: what is meant, what a replay is, how letters look."""

import hashlib
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from services.cli import dead_letters_view as letters
from services.cli.dead_letters import dead_letters_app
from services.cli.times import parse_time
from shared.contracts.codec import encode
from shared.contracts.errors import InvalidEvent
from shared.contracts.events import event_key
from shared.letters.fate import fate
from shared.letters.letter import Selection, mended, replay, replayable, state, summary
from shared.observability.terminal import printable
from shared.runtime.dead_letters import KEPT_BYTES, MAX_BYTES, REPLAY_OF, document, to_dead_letter
from shared.runtime.protocols import Headers, Message, Outcome, Partition, Record
from shared.runtime.sequence_numbers import NUMBER, ORIGIN
from tests.support.builders import TOPICS, MemoryKith, recorded

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
INVALID = InvalidEvent("invalid", "must be a number", "data.amount")
OPEN = {"replayed_at": None, "discarded_at": None}


def letter(
    value: bytes | None = b"{}",
    key: bytes | None = b"default:c1",
    topic: str = "kith.relations",
    headers: Headers = (),
) -> dict[str, Any]:
    """The dead letter of offset 7 of partition 1."""
    arrived = int(NOW.timestamp() * 1000)
    return document(Record(Partition(topic, 1), 7, arrived, key, value, headers), INVALID, "relations")


@pytest.mark.parametrize(
    ("selection", "query"),
    [
        (Selection(), OPEN),
        (Selection(closed=True), {}),
        (Selection(ids=["a", "b"], reason="invalid"), {"_id": {"$in": ["a", "b"]}}),
        (
            Selection(reason="invalid", type="t", tenant="acme"),
            {**OPEN, "reason": "invalid", "type": "t", "tenant": "acme"},
        ),
        (Selection(topic="relations"), {**OPEN, "topic": "kith.relations"}),
        (Selection(topic="kith.relations"), {**OPEN, "topic": "kith.relations"}),
        (Selection(since=NOW), {**OPEN, "time": {"$gte": NOW}}),
        (Selection(since=NOW, until=NOW), {**OPEN, "time": {"$gte": NOW, "$lt": NOW}}),
    ],
)
def test_what_is_meant(selection: Selection, query: dict[str, Any]) -> None:
    assert selection.query(TOPICS) == query


def test_everything_is_never_meant_by_accident() -> None:
    assert not Selection().narrow
    assert not Selection(closed=True).narrow
    assert Selection(ids=["a"]).narrow
    assert Selection(until=NOW).narrow
    for command in (["replay"], ["replay", "--all"], ["discard", "--reason-text", "old"]):
        result = CliRunner().invoke(dead_letters_app, command)
        assert result.exit_code == 2
        assert "filter" in result.output


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-11-21T10:00:00Z", NOW - timedelta(hours=2)),
        ("2026-11-21t12:00:00.000+02:00", NOW - timedelta(hours=2)),
        ("2026-11-21", NOW.replace(hour=0)),
        ("90m", NOW - timedelta(minutes=90)),
        ("24h", NOW - timedelta(days=1)),
        ("7d", NOW - timedelta(days=7)),
        ("2w", NOW - timedelta(days=14)),
    ],
)
def test_times(text: str, time: datetime) -> None:
    assert parse_time(text, NOW) == time


@pytest.mark.parametrize(
    "text", ["yesterday", "2026-11-21T10:00:00", "2026-11-21T12:00+02:00", "20261121", "999999w"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must "):
        parse_time(text, NOW)
    result = CliRunner().invoke(dead_letters_app, ["list", "--since", "yesterday"])
    assert result.exit_code == 2
    assert "--since" in result.output


def test_states() -> None:
    assert state(letter()) == "open"
    assert state({**letter(), "replayed_at": NOW}) == "replayed"
    assert state({**letter(), "replayed_at": NOW, "discarded_at": NOW}) == "discarded"


def test_a_replay_is_the_original_with_the_name_of_its_letter() -> None:
    headers = (("trace", b"1"), ("trace", b"2"), (REPLAY_OF, b"older"), (ORIGIN, b"o"), (NUMBER, b"3"))
    message = replay(letter(b"\xff not json", headers=headers))
    assert (message.topic, message.key, message.value) == ("kith.relations", b"default:c1", b"\xff not json")
    assert message.partition is None, "the key decides, as for its other events"
    assert message.headers == (("trace", b"1"), ("trace", b"2"), (REPLAY_OF, b"kith.relations/1/7"))


def test_a_replay_without_a_key_stays_in_its_partition() -> None:
    message = replay(letter(None, key=None))
    assert (message.key, message.partition, message.value) == (None, 1, b"")


def test_a_replay_that_is_refused_again_names_its_letter() -> None:
    first = letter()
    message = replay(first)
    again = Record(Partition(message.topic, 0), 9, 0, message.key, message.value, message.headers)
    assert document(again, INVALID, "relations")["replay_of"] == first["_id"]
    assert "replay_of" not in first
    outcome = Outcome()
    to_dead_letter(again, INVALID, "relations", "kith.dead-letters", outcome)
    after = outcome.writes[0].after
    assert after is not None
    assert after["replay_of"] == first["_id"]


def test_changes_are_not_replayed() -> None:
    assert replayable(letter(), TOPICS)
    assert not replayable(letter(topic="kith.relation-changes"), TOPICS)


def test_a_mended_event_goes_where_the_door_would_send_it() -> None:
    event = recorded("e1", "2026-11-21T10:00:00Z", consumer_id="c2")
    message = mended(letter(key=b"wrong", topic="kith.providers"), encode(event), TOPICS)
    assert (message.topic, message.key, message.partition) == ("kith.relations", event_key(event), None)
    assert message.headers == ((REPLAY_OF, b"kith.providers/1/7"),)


def test_a_mended_event_that_is_still_wrong_is_refused() -> None:
    with pytest.raises(InvalidEvent) as caught:
        mended(letter(), b'{"type": "relation.recorded"}', TOPICS)
    assert "rejected again (invalid)" in letters.refusal(caught.value)


def test_lists_hold_no_value_and_no_key() -> None:
    told = summary(letter(b'{"type": "relation.recorded", "tenant": "acme", "secret": "Ann"}'))
    assert told == {
        "id": "kith.relations/1/7",
        "state": "open",
        "reason": "invalid",
        "field": "data.amount",
        "detail": "must be a number",
        "service": "relations",
        "tenant": "acme",
        "type": "relation.recorded",
        "time": "2026-11-21T12:00:00Z",
    }


@pytest.mark.parametrize(
    ("value", "told"),
    [
        # As the codec reads it: other tenants' administrators must not see it.
        (b'{"type": "relation.recorded", "id": "e1"}', {"tenant": "default", "type": "relation.recorded"}),
        (b'{"tenant": "acme", "type": "x.y"}', {"tenant": "acme", "type": "x.y"}),
        # What is no name may be anything.
        (b'{"tenant": "Ada Berg", "type": "ada@example.org"}', {}),
        (b'{"tenant": 5, "type": ["Ada"]}', {}),
        (b"[]", {}),
        (b"ada", {}),
    ],
)
def test_what_is_told_of_a_bad_event(value: bytes, told: dict[str, str]) -> None:
    assert {name: found for name, found in letter(value).items() if name in ("tenant", "type")} == told


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b'{"name": "Ann"}', {"name": "Ann"}),
        (b"no json", "no json"),
        (b"\xff", {"base64": "/w=="}),
        (None, None),
    ],
)
def test_details_hold_everything(value: bytes | None, shown: Any) -> None:
    found = letters.details(letter(value, headers=(("trace", b"1"),)))
    assert found["value"] == shown
    assert (found["topic"], found["partition"], found["offset"]) == ("kith.relations", 1, 7)
    assert found["key"] == "default:c1"
    assert found["headers"] == [{"name": "trace", "value": "1"}]
    assert "header trace: 1" in letters.pretty(found)


def test_a_json_value_is_indented_for_people() -> None:
    assert letters.pretty(letters.details(letter(b'{"name": "Ann"}'))).endswith('value:\n{\n  "name": "Ann"\n}')


def test_nothing_from_outside_reaches_the_terminal_as_a_command() -> None:
    assert printable("a\x1b[31mb\x9b\u202e\n") == "a\\x1b[31mb\\x9b\\u202e\\n"
    evil = letter(b'{"name": "\\u009b\x7f[2J"}')
    assert not set("\x1b\x9b\x7f") & set(letters.pretty(letters.details(evil)))


def test_reports() -> None:
    assert letters.report("discarded", ["a"], dry_run=False).plain == "1 dead letter discarded"
    text = letters.report("discarded", ["a", "b"], dry_run=True).plain
    assert text == "a\nb\n2 dead letters would be discarded; this was a dry run"


GOOD = encode(recorded("e1", "2026-11-21T10:00:00Z"))


@pytest.mark.parametrize(
    ("found", "published", "says"),
    [
        (letter(GOOD), True, "this version can read it"),
        (letter(b"{}"), True, "refuses it, too (invalid: type is required), so that it becomes a new dead letter"),
        (letter(b"{}"), False, "kith dead-letters replay kith.relations/1/7 --value event.json"),
        (letter(b"no json"), False, "not_json"),
        (letter(GOOD), False, "its consumer is erased"),
        (letter(GOOD, topic="kith.consumers"), True, "wrong_topic: type belongs into kith.relations"),
        (letter(GOOD, topic="kith.relation-changes"), False, "rebuild relations instead: kith rebuild relations"),
        (letter(b"x" * 3_000_000), False, "3,000,000 bytes of its value are in Kafka"),
        (letter(None), False, "not_json"),
    ],
)
def test_a_replay_says_of_this_letter_why_and_what_will_happen(
    found: dict[str, Any], published: bool, says: str
) -> None:
    one = fate(found, published, TOPICS)
    assert one.failed == "invalid: data.amount must be a number"
    assert says in one.because
    for dry_run in (True, False):
        ids = [one.id] if published else []
        text = letters.replay_report([one], ids, [] if published else [one.id], dry_run).plain
        assert one.id in text
        assert "it failed: invalid: data.amount must be a number" in text
        assert says in text
        assert ("would be" in text) == dry_run


def test_of_very_many_letters_those_with_one_reason_are_counted() -> None:
    fates = [fate({**letter(b"{}"), "_id": f"kith.relations/1/{n}"}, n % 3 > 0, TOPICS) for n in range(900)]
    text = letters.replay_report(fates, ["x"] * 600, ["y"] * 300, dry_run=False).plain
    assert "600 × invalid: data.amount must be a number; this version refuses it, too" in text
    assert "300 × " in text
    assert "show ID --raw" in text
    assert len(text.splitlines()) == 6


@pytest.mark.parametrize("width", [40, 80, 160])
def test_a_list_breaks_no_id_and_no_time(width: int) -> None:
    console = Console(file=io.StringIO(), width=width)
    found = [
        summary({**letter(b'{"tenant": "acme"}'), "_id": f"kith.relations/1/{n * 1_000_003}"}) for n in range(9)
    ]
    console.print(letters.table(found, console))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    for one in found:
        assert one["id"] in text
        assert one["time"] in text or width < 60
    assert text.count("invalid: data.amount must be a number") == 9
    assert max(map(len, text.splitlines())) <= width


def test_the_help_warns_of_personal_data() -> None:
    for command in ([], ["show"]):
        help = CliRunner().invoke(dead_letters_app, [*command, "--help"]).output
        assert "personal data" in " ".join(help.split())


def test_reading_the_log_anew_does_not_reopen_what_is_closed() -> None:
    kith = MemoryKith()
    kith.log.append(Message("kith.relations", b"default:c1", b"no json"))
    kith.drain()
    [letter] = kith.documents()["dead_letters"].values()
    letter.update(discarded_at=datetime.now(UTC), discard_reason="a test message")
    kith.store.positions.clear()
    kith.reader.assign(kith.inputs)
    kith.drain()
    assert list(kith.documents()["dead_letters"].values()) == [letter]


# Messages that are too large to be kept whole

SOME = (("a", b"1"), (REPLAY_OF, b"kith.relations/0/3"))


@pytest.mark.parametrize(
    ("key", "value", "headers"),
    [
        (b"k", b"x" * MAX_BYTES, ()),
        (b"x" * MAX_BYTES, b"v", SOME),
        (b"k", b"v", (*SOME, ("a", b"x" * MAX_BYTES))),
        # In a document a header takes far more than its name and value, and Kafka does not count them.
        (b"k", None, SOME * 50_000),
        (None, b"x" * 20_000_000, SOME),
    ],
    ids=["value", "key", "header", "headers", "more than a document"],
)
def test_of_a_message_beyond_a_mebibyte_the_beginning_is_kept(
    key: bytes | None, value: bytes | None, headers: Headers
) -> None:
    outcome = Outcome()
    record = Record(Partition("kith.relations", 1), 7, 0, key, value, headers)
    to_dead_letter(record, INVALID, "relations", "kith.dead-letters", outcome)
    [message], letter = outcome.messages, outcome.writes[0].after
    assert letter == document(record, INVALID, "relations")
    kept: dict[str, Any] = {"key": key and key[:KEPT_BYTES], "value": value and value[:KEPT_BYTES], "headers": []}
    assert {name: letter[name] for name in kept} == kept
    assert letter["cut"] == {
        "key_bytes": len(key or b""),
        "value_bytes": len(value or b""),
        "headers": len(headers),
        "sha256": hashlib.sha256(value or b"").hexdigest(),
    }
    assert letter.get("replay_of") == ("kith.relations/0/3" if headers else None)
    assert (message.key, message.value) == (letter["key"], letter["value"] or b"")
    told = {name: text.decode() for name, text in message.headers}
    assert told["kith-value-bytes"] == str(len(value or b""))
    assert told["kith-value-sha256"] == letter["cut"]["sha256"]
    assert told["kith-origin-record"] == "kith.relations/1/7"


def test_up_to_a_mebibyte_all_is_kept() -> None:
    whole = letter(b"x" * (MAX_BYTES - 300), headers=SOME)
    assert len(whole["value"]) == MAX_BYTES - 300
    assert len(whole["headers"]) == 2
    assert "cut" not in whole


def test_text_is_cut_between_characters_and_told_of_as_a_whole() -> None:
    value = '{"type": "relation.recorded", "id": "e1", "tenant": "acme", "x": "' + "äö€" * MAX_BYTES + '"}'
    kept = letter(value.encode())
    assert KEPT_BYTES - 3 <= len(kept["value"]) <= KEPT_BYTES
    assert value.startswith(kept["value"].decode())
    assert (kept["tenant"], kept["type"], kept["event_id"]) == ("acme", "relation.recorded", "e1")
    assert letter(b"\xff" * 2 * MAX_BYTES)["value"] == b"\xff" * KEPT_BYTES


def test_a_letter_that_is_cut_says_so_and_is_not_replayed() -> None:
    cut = letter(b"x" * 3_000_000)
    assert not replayable(cut, TOPICS)
    assert summary(cut)["cut"]["value_bytes"] == 3_000_000
    told = letters.details(cut)
    assert told["value"] == "x" * KEPT_BYTES
    assert told["note"] == (
        "kith.relations/1/7 was too large to be stored whole: the 3,000,000 bytes of its value are in Kafka, "
        "in kith.relations, partition 1, offset 7"
    )
    assert "the beginning of the value:\nxxx" in letters.pretty(told)
    assert "note" not in letters.details(letter())
    assert "--value" in fate(cut, False, TOPICS).because


def test_the_partition_goes_on_after_a_message_that_is_too_large() -> None:
    kith = MemoryKith(1)
    kith.log.append(Message("kith.relations", b"default:c1", b"x" * 20_000_000))
    kith.publish([recorded("e1", "2026-11-21T10:00:00Z")])
    kith.drain()
    assert [fact["relation_id"] for fact in kith.documents()["relations"].values()] == ["r1"]
    assert kith.values("dead-letters") == [b"x" * KEPT_BYTES]
