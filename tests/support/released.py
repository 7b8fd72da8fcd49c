"""The code of the last released version, which an upgrade begins with."""

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.support.paths import ROOT

#: Where no tag v* leads to this version: main as it was delivered last, on 29 November 2026.
LAST = "63c77d7b"


def export(folder: Path) -> str:
    """Put the packages of the last released version into ``folder``; returns its tag or commit.

    Skips the test in a copy without history; fails it with KITH_TEST_UPGRADE=required, as in CI."""
    # A release is tagged when its tests have passed: the tag of this very commit is not the last one.
    tags = _git("tag", "--list", "v*", "--sort=-version:refname", "--merged", "HEAD~1").stdout.decode().split()
    version = tags[0] if tags else LAST
    packed = _git("archive", version, "services", "shared")
    if packed.returncode != 0:
        missing = f"{version} is not in this copy of the repository: {packed.stderr.decode().strip()}"
        if os.environ.get("KITH_TEST_UPGRADE") == "required":
            pytest.fail(missing)
        pytest.skip(missing)
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as files:
        files.extractall(folder, filter="data")
    return version


def _git(*arguments: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)
