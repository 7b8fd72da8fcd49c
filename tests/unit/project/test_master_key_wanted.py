"""Nothing starts without a master key by accident, and none is thrown away while its data stays."""

import os
import subprocess
import sys

import pytest

from services.cli.up import Stack
from shared.contracts.errors import ConfigurationError
from shared.settings import Settings
from tests.support.paths import ROOT
from tests.support.waiting import PATIENCE_SECONDS


@pytest.mark.parametrize("service", ["ingest", "relations"])
def test_a_service_without_a_key_says_what_is_missing_and_ends(service: str) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KITH_")}
    given = {"KITH_KAFKA": "127.0.0.1:1", "KITH_MONGO": "mongodb://127.0.0.1:1", "KITH_ACCESS": "open"}
    ended = subprocess.run(
        [sys.executable, "-m", f"services.{service}"],
        env={**clean, **given},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert ended.returncode == 2
    assert "KITH_MASTER_KEY_FILE" in ended.stderr
    assert "KITH_ENCRYPTION=off" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_up_makes_no_passing_key_for_a_database_that_stays() -> None:
    settings = Settings(kafka="127.0.0.1:1", mongo="mongodb://127.0.0.1:1", encryption="on", access="open")
    with (
        pytest.raises(ConfigurationError, match="--data, KITH_MASTER_KEY_FILE or KITH_MASTER_KEY"),
        Stack(settings),
    ):
        pass
