"""Signatures, verified by the libraries that receivers in JavaScript use: npm's standardwebhooks and svix."""

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.webhooks.messages.signing import new_secret
from tests.support.paths import ROOT
from tests.support.waiting import PATIENCE_SECONDS
from tests.unit.webhooks.test_signing import BODY, headers

#: Pinned by hash: package-lock.json.
PACKAGES = ROOT / "tests/data/npm"
Verify = Callable[[list[tuple[str, dict[str, str], bytes]]], list[dict[str, bool]]]


@pytest.fixture(scope="session")
def verify(tmp_path_factory: pytest.TempPathFactory) -> Verify:
    """What both libraries say of deliveries: secret, headers, body."""
    node, npm = shutil.which("node"), shutil.which("npm")
    # .ci/run sets it where the machine has Node.js: there the tests are never left out.
    leave_out = pytest.fail if os.environ.get("KITH_TEST_NODE") == "required" else pytest.skip
    if node is None or npm is None:
        leave_out("there is no Node.js with npm for the libraries of receivers")
    folder = tmp_path_factory.mktemp("npm")
    for file in PACKAGES.iterdir():
        if file.is_file():
            shutil.copy(file, folder)
    # No package may run anything while it is installed. A registry that fails once is asked again.
    argv = [str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
    argv += ["--fetch-retries=5", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=20000"]
    fetched = subprocess.run(
        argv, cwd=folder, capture_output=True, text=True, timeout=2 * PATIENCE_SECONDS, check=False
    )
    if fetched.returncode:
        leave_out(f"npm does not fetch the libraries of receivers: {fetched.stderr[-500:]}")
    return lambda deliveries: _verified(str(node), folder, deliveries)


def _verified(
    node: str, folder: Path, deliveries: list[tuple[str, dict[str, str], bytes]]
) -> list[dict[str, bool]]:
    given = [
        {"secret": secret, "headers": sent, "body": base64.b64encode(body).decode()}
        for secret, sent, body in deliveries
    ]
    done = subprocess.run(
        [node, "verify.mjs"],
        cwd=folder,
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    found: list[dict[str, bool]] = json.loads(done.stdout)
    return found


def test_what_is_signed_verifies_and_what_was_changed_does_not(verify: Verify) -> None:
    former, present, other = (new_secret("hmac", os.urandom) for _ in range(3))
    asymmetric, now = new_secret("ed25519", os.urandom), int(time.time())
    both = headers([asymmetric, present, former])
    moved: dict[str, Any] = {**both, "webhook-id": both["webhook-id"] + "x"}
    as_svix = {name.replace("webhook-", "svix-"): value for name, value in both.items()}
    good = [(present, headers([present]), BODY), (present, both, BODY), (former, both, BODY)]
    bad = [
        (other, both, BODY),
        (present, both, BODY + b" "),
        (present, moved, BODY),
        # Five minutes are allowed, by the clock of Node.js, which starts a while after `now` was read.
        (present, headers([present], now - 600), BODY),
        (present, headers([present], now + 600), BODY),
        (present, headers([asymmetric]), BODY),
    ]
    answers = verify([*good, *bad, (present, as_svix, BODY)])
    assert answers[: len(good)] == [{"standardwebhooks": True, "svix": True}] * len(good)
    assert answers[len(good) : -1] == [{"standardwebhooks": False, "svix": False}] * len(bad)
    # Kith sends the names of the specification; svix takes its own as well.
    assert answers[-1] == {"standardwebhooks": False, "svix": True}
