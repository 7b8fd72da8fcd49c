"""What is installed is what was locked: every file of every package by its hash."""

import tomllib
from typing import Any

from tests.support.paths import ROOT

LOCK = tomllib.loads((ROOT / "uv.lock").read_text())


def files(package: dict[str, Any]) -> list[dict[str, Any]]:
    return [*package.get("wheels", ()), *filter(None, [package.get("sdist")])]


def test_every_file_has_a_hash() -> None:
    others = [package for package in LOCK["package"] if package["name"] != "kith"]
    assert len(others) > 50
    unhashed = [
        p["name"] for p in others if not files(p) or not all(f["hash"].startswith("sha256:") for f in files(p))
    ]
    assert unhashed == []


def test_packages_come_from_the_public_index_alone() -> None:
    sources = {str(package["source"]) for package in LOCK["package"] if package["name"] != "kith"}
    assert sources == {"{'registry': 'https://pypi.org/simple'}"}


def test_the_lock_holds_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (kith,) = (package for package in LOCK["package"] if package["name"] == "kith")
    asked = len(project["project"]["dependencies"]) + sum(
        map(len, project["project"]["optional-dependencies"].values())
    )
    assert len(kith["metadata"]["requires-dist"]) == asked
    groups = {name: len(found) for name, found in kith["metadata"]["requires-dev"].items()}
    assert groups == {name: len(found) for name, found in project["dependency-groups"].items()}
