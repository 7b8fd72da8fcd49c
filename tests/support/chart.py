"""The Helm chart, rendered by Helm itself."""

import os
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from tests.support.paths import ROOT

CHART = ROOT / "deploy/helm/kith"
#: The newest Kubernetes that the chart is checked for, and the oldest that it names.
KUBERNETES = ("1.34", "1.27")
#: What has no default.
NEEDED = {"kafka.bootstrap": "kafka-0.kafka:9093"}


def helm(*arguments: str, values: str = "") -> "subprocess.CompletedProcess[str]":
    """Helm with these arguments, and with values from its standard input.

    Skips the test where there is no Helm; fails it with KITH_TEST_HELM=required, as in CI."""
    program = shutil.which("helm")
    if program is None:
        missing = "there is no helm; `python3 -m tools.helm FOLDER` brings it"
        if os.environ.get("KITH_TEST_HELM") == "required":
            pytest.fail(missing)
        pytest.skip(missing)
    return subprocess.run([program, *arguments], input=values, capture_output=True, text=True, check=False)


def render(kubernetes: str = KUBERNETES[0], **values: Any) -> list[dict[str, Any]]:
    """The chart's resources, with ``values`` by their paths (``**{"kafka.bootstrap": …}``)."""
    stated = yaml.safe_dump(_nested({**NEEDED, **values}))
    where = ("--namespace", "shop", "--kube-version", kubernetes, "--values", "-")
    done = helm("template", "kith", str(CHART), *where, values=stated)
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.load_all(done.stdout, yaml.CSafeLoader) if each]


def _nested(values: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path, value in values.items():
        *outer, last = path.split(".")
        place = found
        for name in outer:
            place = place.setdefault(name, {})
        place[last] = value
    return found
