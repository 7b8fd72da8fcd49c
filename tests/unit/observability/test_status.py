"""`kith status`: what it makes of positions and signs of life, and how it looks."""

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from services.cli.status_view import ago, duration, status_tables
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


def shown(status: Status, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    for table in status_tables(status):
        console.print(table)
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
    }


def test_plain_text_past_the_door_is_shown_as_a_finding() -> None:
    assert "plain text" not in shown(status(partition()))
    text = shown(status(partition(), plaintext={"kith.consumers": 12_345}))
    assert "Findings: personal data that came into Kafka in plain text" in text
    assert "KITH_PLAINTEXT=refuse" in text
    assert "12,345" in text


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
        "Replayed or discarded: 7,654,321",
    ):
        assert cell in text, cell
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text


def test_closed_dead_letters_alone_are_no_alarm() -> None:
    assert "Not accepted" not in shown(status())
    text = shown(status(closed_letters=2))
    assert "Replayed or discarded: 2" in text


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
