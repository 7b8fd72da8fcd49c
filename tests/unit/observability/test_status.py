"""`kith status`: what it makes of positions and signs of life, and how it looks."""

import io
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console, Group
from rich.segment import Segment

from services.cli.health import Health
from services.cli.status_show import Screenful
from services.cli.status_view import ago, attention, duration, status_view
from shared.contracts.services import SERVICES
from shared.observability.status import Latency, PartitionStatus, Status

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def beat(service: str = "relations", owner: str = "host/1", seconds: float = 1, **counts: int) -> dict[str, Any]:
    """A sign of life so many seconds ago; ``counts`` are s0=1, s10=5 …"""
    latency = [{"size": int(name[1:]), "count": count} for name, count in counts.items()]
    at = NOW - timedelta(seconds=seconds)
    return {"_id": f"{service}/{owner}", "service": service, "owner": owner, "at": at, "latency": latency}


def partition(
    number: int = 0, owner: str | None = "host/1", stored: int | None = 5, **more: Any
) -> PartitionStatus:
    end = more.pop("end", 5)
    lag = end - (stored or 0)
    topic = more.pop("topic", "kith.relations")
    return PartitionStatus("relations", topic, number, stored, end, lag, owner, more.pop("moved", NOW), **more)


def status(*partitions: PartitionStatus, beats: Any = (), **more: Any) -> Status:
    fields: dict[str, Any] = {"documents": {}, "dead_letters": {}, "closed_letters": 0, "outbox": 0, **more}
    return Status(NOW, list(partitions), beats=beats, **fields)


ALL_UP = [Health(service, f"http://127.0.0.1:{8701 + n}", "up") for n, service in enumerate(SERVICES)]


def shown(status: Status, width: int = 80, services: list[Health] = ALL_UP, only_behind: bool = False) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(*status_view(status, services, console, only_behind), sep="\n")
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_latency_is_that_of_all_living_workers_of_a_service() -> None:
    beats = [beat(s0=50), beat(owner="host/2", s24=50), beat(owner="host/3", seconds=60, s99=1000)]
    found = status(beats=beats).latency
    assert found["relations"] == Latency(1.0, 9.8, 100)
    assert found["analytics"] == Latency(None, None, 0)
    assert status(beats=beats).as_dict()["latency"]["relations"] == {"p50_ms": 1.0, "p99_ms": 9.8, "messages": 100}


def test_workers_are_those_that_own_and_those_that_live() -> None:
    found = status(
        partition(0),
        partition(1, "host/2", stored=3),
        partition(2, None, stored=None, moved=None),
        beats=[beat(), beat(owner="host/2", seconds=60), beat("analytics", "host/9")],
    ).workers
    assert [(w.service, w.owner, len(w.partitions), w.lag, w.alive) for w in found] == [
        ("relations", "host/1", 1, 0, True),
        ("relations", "host/2", 1, 2, False),
        ("relations", None, 1, 5, False),
        ("analytics", "host/9", 0, 0, True),
    ]
    assert found[1].seen == NOW - timedelta(seconds=60)
    assert found[2].seen is None


def test_the_json_has_no_more_and_no_less() -> None:
    assert set(status(partition()).as_dict()) == {
        "time",
        "lag",
        "latency",
        "partitions",
        "workers",
        "documents",
        "dead_letters",
        "closed_letters",
        "outbox",
        "plaintext",
        "incomplete",
        "lost_keys",
        "lost_tenant_keys",
        "restoring",
        "not_in_nfc",
    }


def test_plain_text_past_the_door_is_shown_as_a_finding() -> None:
    assert "plain text" not in shown(status(partition()))
    text = shown(status(partition(), plaintext={"kith.consumers": 12_345}))
    assert "Findings: 12,345 events with personal data in plain text in kith.consumers." in " ".join(text.split())
    assert "KITH_PLAINTEXT=refuse" in text
    assert "12,345" in text


def test_lost_keys_are_a_finding_with_what_to_do() -> None:
    assert "lost_keys" not in shown(status(partition()))
    text = " ".join(shown(status(partition(), lost_keys={"acme": 1, "default": 2_345})).split())
    assert "Findings: 2,346 consumers have lost the keys" in text
    assert "(1 of acme, 2,345 of default)" in text
    assert "or erase them; the collection lost_keys lists them." in text


def test_a_tenants_own_key_is_no_consumer_and_has_its_own_advice() -> None:
    text = " ".join(shown(status(partition(), lost_tenant_keys=["acme", "shop"])).split())
    assert "a restore has lost the own key of acme, shop. Make the webhook endpoints anew" in text
    assert "Then delete what the collection lost_keys has with that tenant and an empty consumer_id." in text
    assert "consumers have lost" not in text
    assert "rotate-key" not in text
    text = " ".join(shown(status(partition(), lost_tenant_keys=["*"])).split())
    assert "kith app rotate-key" in text
    assert "webhook endpoints" not in text


def test_documents_that_a_rebuild_would_complete_are_named() -> None:
    assert "kith rebuild" not in shown(status(partition()))
    assert "until kith rebuild relations" in " ".join(shown(status(partition(), incomplete=["relations"])).split())


def test_ids_that_are_not_in_nfc_are_a_finding_with_what_to_do() -> None:
    assert "NFC" not in shown(status(partition()))
    text = " ".join(shown(status(partition(), not_in_nfc={"consumers": 1, "relations": 2_345})).split())
    assert "Findings: 2,346 documents have ids that are not in Unicode's form NFC" in text
    assert "(1 in consumers, 2,345 in relations)" in text
    assert "kith rebuild switch relations --differences publish." in text
    one = " ".join(shown(status(partition(), not_in_nfc={"providers": 1})).split())
    assert "1 document has an id that is not" in one


def test_it_fits_into_eighty_columns() -> None:
    """No cell is cut or broken: each is found whole, although the numbers are large."""
    text = shown(
        status(
            *(
                partition(n, "kith-relations-7", 12_345_678, end=98_765_432, topic="kith.relation-changes")
                for n in range(100)
            ),
            beats=[beat(owner="kith-relations-7", s0=1_000_000)],
            documents={"relationships": 123_456_789},
            dead_letters={"unknown_version": 1_234_567},
            closed_letters=7_654_321,
            outbox=1000,
        )
    )
    for cell in (
        "relation-changes/99",
        "12,345,678",
        "86,419,754",
        "8,641,975,400",
        "kith-relations-7",
        "1,000,000",
        "123,456,789",
        "unknown_version",
        "1,234,567",
        "Replayed or discarded dead letters: 7,654,321",
    ):
        assert cell in text, cell
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text


def test_closed_dead_letters_alone_are_no_alarm() -> None:
    assert "Not accepted" not in shown(status())
    text = shown(status(closed_letters=2))
    assert "Replayed or discarded dead letters: 2" in text


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (None, "–"),
        (1.0, "1 ms"),
        (276.8, "277 ms"),
        (1539.0, "1.5 s"),
        (119_000, "119.0 s"),
        (150_000, "2 min"),
        (7_200_000, "2 h"),
    ],
)
def test_durations_are_short(milliseconds: float | None, text: str) -> None:
    assert duration(milliseconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(3, "3 s ago"), (300, "5 min ago"), (9_000, "2 h ago")])
def test_ages_are_short(seconds: int, text: str) -> None:
    assert ago(NOW - timedelta(seconds=seconds), NOW) == text
    assert ago(None, NOW) == "–"


HEAVY = status(
    *(
        partition(n, f"kith-relations-{n % 7}", 12_345_678, end=98_765_432, topic="kith.relation-changes")
        for n in range(100)
    ),
    beats=[beat(owner=f"kith-relations-{n}", s0=1_000_000) for n in range(7)],
    documents={"relationships": 123_456_789, "relations": 1_234_567_890},
    dead_letters={"unknown_version": 1_234_567, "invalid": 12},
    plaintext={"kith.consumers": 12_345},
    not_in_nfc={"relations": 12_345_678},
    closed_letters=7_654_321,
    outbox=1000,
)
DOWN = [*ALL_UP[:4], Health("exports", "http://127.0.0.1:8705", "no answer", "Connection refused"), *ALL_UP[5:]]


def test_every_service_is_shown_also_those_that_are_no_workers() -> None:
    text = shown(status(partition()), services=DOWN)
    rows = {line.split()[0]: line.split() for line in text.splitlines() if "http://" in line and "!" not in line}
    assert {name: row[1] for name, row in rows.items()} == {
        **dict.fromkeys(SERVICES, "up"),
        "exports": "no",
    }
    assert all("http://127.0.0.1:87" in " ".join(row) for row in rows.values())


@pytest.mark.parametrize("width", [30, 40, 50, 60, 80, 100, 200])
def test_no_width_breaks_a_number_or_a_line(width: int) -> None:
    """What does not fit is left out, column by column; what is there is whole."""
    text = shown(HEAVY, width, DOWN)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    assert "…" not in text
    numbers = set(re.findall(r"[\d,]*\d", text))
    whole = {
        f"{n:,}"
        for n in (*range(1, 200), *range(8701, 8701 + len(SERVICES)), 12_345_678, 86_419_754, 123_456_789, 1000)
    }
    whole |= {f"{lag * 86_419_754:,}" for lag in range(101)} | {
        "1,234,567,890",
        "1,234,567",
        "1,234,579",
        "12,345",
    }
    whole |= {"7,654,321", "1,000,000", "7,000,000", "127", "0", *(str(8701 + n) for n in range(len(SERVICES)))}
    assert numbers <= whole, numbers - whole


@pytest.mark.parametrize("height", [3, 10, 24, 60, 500])
@pytest.mark.parametrize("width", [40, 80, 160])
def test_a_screenful_is_no_higher_than_the_screen_and_begins_with_what_is_urgent(height: int, width: int) -> None:
    console = Console(file=io.StringIO(), width=width, height=height)
    view = Group(*status_view(HEAVY, DOWN, console, only_behind=True))
    lines = list(Segment.split_lines(console.render(Screenful(view), console.options.update(height=height))))
    assert len(lines) <= height
    texts = ["".join(segment.text for segment in line) for line in lines]
    assert texts[0].strip() == "Needs attention"
    assert texts[1].startswith("! exports gives no answer")
    assert max(map(len, texts)) <= width
    assert texts[-1].endswith("more lines in a higher window") == (height < 500)


def test_while_it_watches_partitions_that_are_up_to_date_are_only_counted() -> None:
    behind = partition(7, stored=3, end=9)
    text = shown(status(*(partition(n) for n in range(20)), behind), only_behind=True)
    assert "relations/7" in text
    assert "relations/3" not in text
    assert "20 others are up to date" in text
    assert "all 20 are up to date" in shown(status(*(partition(n) for n in range(20))), only_behind=True)


def test_what_needs_attention_is_said_and_nothing_else() -> None:
    assert "Nothing needs attention" in shown(status(partition(), beats=[beat()]))
    long_ago = NOW - timedelta(seconds=60)
    troubled = status(
        partition(0, "host/2", stored=1, end=9, moved=long_ago),
        partition(1, stored=4, end=5),
        beats=[beat(), beat(owner="host/2", seconds=60)],
        dead_letters={"invalid": 1},
    )
    said = [line.plain for line in attention(troubled, DOWN)]
    assert said == [
        "! exports gives no answer at http://127.0.0.1:8705: Connection refused",
        "! worker host/2 of relations was last seen 60 s ago with 1 partitions, 8 behind",
        "! relations: 8 messages wait and none was stored for 10 s",
        "! 1 dead letter is open (1 invalid): kith dead-letters list",
    ]


def test_a_sink_that_nobody_runs_any_more_is_what_erasures_wait_for() -> None:
    left = replace(partition(0, "host/2", stored=1, end=9), service="rabbitmq")
    assert "! worker host/2 of rabbitmq has left with 1 partitions, 8 behind; erasures wait for it" in [
        line.plain for line in attention(status(left), [])
    ]
