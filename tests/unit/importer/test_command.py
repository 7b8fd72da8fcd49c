"""``kith import`` as a command, and publishing: windows, failures, progress."""

import json
import os
import signal
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from services.importer import command, window
from shared.contracts.errors import Unavailable
from shared.runtime.protocols import Message
from shared.service.launch import settings_from
from shared.settings import Settings
from tests.support.importer import Recorder, imported, rejects_of, visits

app = typer.Typer()
app.command("import")(command.import_command)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()

    def factory(_: Settings) -> Recorder:
        return recorder

    monkeypatch.setattr(command, "kafka_publisher", factory)
    monkeypatch.setenv("KITH_ENCRYPTION", "off")
    monkeypatch.setenv("KITH_KAFKA", "kafka.test:9092")
    return recorder


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    (tmp_path / "v.csv").write_text("who,where\nc1,p1\nc2,\nc3,p3\n")
    return visits(tmp_path, "v.csv")


def test_a_dry_run_names_no_stack(mapping: Path) -> None:
    """It uses none."""

    def stack() -> dict[str, str]:
        raise AssertionError("asked for a stack")

    with settings_from(stack):
        result = CliRunner().invoke(app, [str(mapping), "--dry-run"])
    assert result.exit_code == 0, result.output


def test_a_stop_in_the_middle_leaves_the_rejected_rows_in_their_file(
    mapping: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(_: Sequence[Message]) -> Future[None]:
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("goes on")

    monkeypatch.setattr(recorder, "send", stopped)
    before = signal.getsignal(signal.SIGTERM)
    result = CliRunner().invoke(app, [str(mapping)])
    assert result.exit_code == 130, result.output
    assert [json.loads(line)["number"] for line in rejects_of(mapping).read_text().splitlines()] == [3]
    assert [path.name for path in mapping.parent.iterdir() if path.name.startswith(".")] == []
    assert signal.getsignal(signal.SIGTERM) is before


def test_publishes_and_reports(mapping: Path, recorder: Recorder) -> None:
    os.utime(mapping.parent / "v.csv", (1_772_445_600, 1_772_445_600))
    result = CliRunner().invoke(app, [str(mapping)])
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "v: 3 rows read, 2 accepted, 1 rejected",
        "  versions as of 2026-03-02T10:00:00+00:00 (modification time of v.csv)",
        f"Rejected rows, with their reasons: {rejects_of(mapping)}",
    ]
    assert len(recorder.messages) == 2
    assert recorder.closed


def test_json_report_and_rejects_elsewhere(mapping: Path, recorder: Recorder, tmp_path: Path) -> None:
    elsewhere = tmp_path / "bad.jsonl"
    moment = ["--as-of", "2026-03-02T11:00:00+01:00"]
    result = CliRunner().invoke(app, [str(mapping), "--json", "--rejects", str(elsewhere), *moment])
    assert json.loads(result.stdout) == {
        "read": 3,
        "accepted": 2,
        "rejected": 1,
        "sources": [
            {
                "source": "v",
                "read": 3,
                "accepted": 2,
                "rejected": 1,
                "as_of": "2026-03-02T10:00:00+00:00",
                "as_of_from": "--as-of",
                "notes": [],
            }
        ],
        "rejects": str(elsewhere),
        "dry_run": False,
    }
    assert json.loads(elsewhere.read_text())["field"] == "data.provider_id"
    assert not rejects_of(mapping).exists()
    assert len(recorder.messages) == 2


def test_a_dry_run_publishes_nothing_and_needs_no_kafka(mapping: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def factory(_: Settings) -> Recorder:
        raise AssertionError("a dry run must not connect")

    monkeypatch.setattr(command, "kafka_publisher", factory)
    result = CliRunner().invoke(app, [str(mapping), "--dry-run"])
    assert result.exit_code == 0, result.output
    assert "v: 3 rows read, 2 acceptable, 1 rejected" in result.stdout
    assert rejects_of(mapping).exists()


def test_a_mistake_ends_with_its_message_and_status_1(mapping: Path, recorder: Recorder) -> None:
    mapping.write_text(mapping.read_text().replace('"where"', '"place"'))
    result = CliRunner().invoke(app, [str(mapping)])
    assert result.exit_code == 1
    assert 'fields.provider_id: v.csv has no column "place", but who, where' in result.stderr
    assert recorder.messages == []


class Manual(Recorder):
    """Acknowledges a batch only when the window waits for it; fails from batch ``failing`` on."""

    def __init__(self, failing: int) -> None:
        super().__init__()
        self.failing = failing
        self.sizes: list[int] = []
        self.most_under_way = 0
        self._under_way = 0

    def send(self, messages: Sequence[Message]) -> Future[None]:
        self.messages.extend(messages)
        self.sizes.append(len(messages))
        self._under_way += 1
        self.most_under_way = max(self.most_under_way, self._under_way)
        failed = len(self.sizes) >= self.failing
        publisher = self

        class Acknowledgement(Future[None]):
            def result(self, timeout: float | None = None) -> None:  # noqa: ARG002 - as in Future
                publisher._under_way -= 1
                if failed:
                    raise Unavailable("no broker answers")

        return Acknowledgement()


def test_batches_are_bounded_and_so_are_those_under_way(tmp_path: Path) -> None:
    rows = 10 * window.BATCH_EVENTS + 1
    (tmp_path / "v.csv").write_text("who,where\n" + "".join(f"c{i},p\n" for i in range(rows)))
    publisher = Manual(failing=1000)
    assert imported(visits(tmp_path, "v.csv"), publisher).accepted == rows
    assert publisher.sizes == [window.BATCH_EVENTS] * 10 + [1]
    assert publisher.most_under_way == window.BATCHES_UNDER_WAY
    assert publisher._under_way == 0


def test_a_failed_publication_says_that_running_it_again_is_safe(tmp_path: Path) -> None:
    rows = 3 * window.BATCH_EVENTS
    (tmp_path / "v.csv").write_text("who,where\n" + "".join(f"c{i},p\n" for i in range(rows)))
    with pytest.raises(Unavailable, match=r"failed after 500 acknowledged events: no broker answers.*is safe"):
        imported(visits(tmp_path, "v.csv"), Manual(failing=2))


def test_progress_reaches_the_size_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("who,where\n" + "c,p\n" * 1200 + "c,\n")
    seen: list[tuple[int, int, int]] = []
    sizes: list[tuple[str, int | None]] = []

    class Watcher:
        def begin(self, source: str, size: int | None) -> None:
            sizes.append((source, size))

        def advance(self, position: int, read: int, rejected: int) -> None:
            seen.append((position, read, rejected))

    imported(visits(tmp_path, "v.csv"), Recorder(), Watcher())
    size = (tmp_path / "v.csv").stat().st_size
    assert sizes == [("v", size)]
    assert seen[-1] == (size, 1201, 1)
    assert [read for _, read, _ in seen] == [500, 1000, 1201]
