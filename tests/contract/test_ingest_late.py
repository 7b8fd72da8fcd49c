"""The door's process beside a Kafka that starts later."""

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from shared.kafka.topics_admin import ensure_topics
from shared.local.kafka import KafkaServer
from shared.local.processes import replace_taken
from shared.settings import Settings
from tests.support.paths import ROOT
from tests.support.waiting import PATIENCE_SECONDS, wait_for

EVENT = {
    "id": "e1",
    "time": "2026-01-01T00:00:00Z",
    "type": "provider.closed",
    "data": {"provider_id": "p1"},
}


def door_process(settings: dict[str, str]) -> "subprocess.Popen[str]":
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KITH_")}
    open = {"KITH_ACCESS": "open", "KITH_ENCRYPTION": "off"}
    own = {**open, "KITH_INGEST_PORT": "0", "KITH_PUBLISH_TIMEOUT_MS": "2000", **settings}
    return subprocess.Popen(
        [sys.executable, "-m", "services.ingest"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**clean, **own},
    )


@pytest.mark.parametrize("client", ["kafka-python", "librdkafka"])
def test_the_door_waits_for_kafka_and_goes_on_by_itself(client: str, tmp_path: Path) -> None:
    kafka_port, controller_port = replace_taken([0, 0])
    address = f"127.0.0.1:{kafka_port}"
    with door_process({"KITH_KAFKA": address, "KITH_KAFKA_CLIENT": client}) as process:
        try:
            assert process.stderr is not None
            found = next(m for line in process.stderr if (m := re.search(r"message=listening url=(\S+)", line)))
            with httpx.Client(base_url=found[1], trust_env=False, timeout=PATIENCE_SECONDS) as door:
                assert door.get("/health/live").status_code == 200
                ready = door.get("/health/ready")
                assert (ready.status_code, ready.json()["status"]) == (503, 503)
                assert "Kafka" in ready.json()["detail"]
                refused = door.post("/v1/events", json=EVENT)
                assert refused.status_code == 503
                assert refused.json()["detail"].startswith("Kafka cannot be reached, so nothing was published")
                assert "retry-after" in refused.headers

                kafka = KafkaServer(tmp_path / "kafka", kafka_port, controller_port, tmp_path / "kafka.log")
                kafka.launch()
                try:
                    kafka.wait_ready()
                    ensure_topics(Settings(kafka=address, partitions=1))
                    wait_for("readiness", lambda: door.get("/health/ready").status_code == 200)
                    assert door.post("/v1/events", json=EVENT).json() == {"accepted": 1, "rejected": []}
                    process.terminate()
                    process.communicate(timeout=PATIENCE_SECONDS)
                finally:
                    kafka.stop()
        finally:
            process.kill()
    assert process.returncode == 0


def test_a_setting_that_no_waiting_mends_ends_the_door() -> None:
    wrong = {
        "KITH_KAFKA": "127.0.0.1:1",
        "KITH_KAFKA_CLIENT": "librdkafka",
        "KITH_KAFKA_SECURITY_PROTOCOL": "SSL",
        "KITH_KAFKA_CA_FILE": "/nowhere.pem",
    }
    with door_process(wrong) as process:
        _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 2
    # Not always last: the thread that reads the ledger may have a word after it.
    assert any(line.startswith("kith ingest: Kafka: ") for line in errors.splitlines()), errors
