"""The site builds without a warning, fetches nothing when it is read, and shows what the code has."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from services.cli.settings import ELSEWHERE
from shared.settings import Settings
from tests.support.documents import SITE
from tests.support.paths import ROOT
from tests.unit.project.test_docs_names import commands, openapi
from tools.reference.__main__ import main as write_parts

#: What a browser fetches by itself; links that a reader follows are none of it.
_FETCHED = re.compile(
    r"""<(?:script|img|iframe|source|link)\b[^>]*?\b(?:src|href)=["']?(?:https?:)?//[^>]*>"""
    r"""|url\(["']?(?:https?:)?//"""
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built site."""
    root = tmp_path_factory.mktemp("site")
    for name in ("zensical.toml", "SECURITY.md", "CHANGELOG.md"):
        shutil.copy(ROOT / name, root)
    shutil.copytree(SITE, root / "docs")
    write_parts(root / "build/reference")
    command = [str(Path(sys.executable).parent / "zensical"), "build", "--strict"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return root / "site"


def text_of(page: Path) -> str:
    return re.sub(r"<[^>]+>", "", page.read_text())


def test_nothing_is_fetched_from_elsewhere(built: Path) -> None:
    files = [path for kind in ("html", "css") for path in built.rglob(f"*.{kind}")]
    assert len(files) > 40
    found = {(path.name, m[0]) for path in files for m in _FETCHED.finditer(path.read_text())}
    assert {(name, tag) for name, tag in found if 'rel="canonical"' not in tag} == set()


def test_no_page_shows_an_include_instead_of_its_part(built: Path) -> None:
    assert [page.name for page in built.rglob("*.html") if "--8&lt;--" in page.read_text()] == []


def test_the_reference_has_every_command_option_and_setting(built: Path) -> None:
    text = text_of(built / "reference/command.html")
    for name, options in commands().items():
        assert name in text
        assert [option for option in options - {"--help"} if option.startswith("--") and option not in text] == []
    text = text_of(built / "reference/settings.html")
    names = [*(f"KITH_{name.upper()}" for name in Settings.model_fields), *ELSEWHERE]
    assert [name for name in names if name not in text] == []


def test_the_reference_has_every_route_and_parameter(built: Path) -> None:
    for service, document in openapi().items():
        text = text_of(built / f"reference/api/{service}.html")
        for path, item in document["paths"].items():
            for method, operation in item.items():
                assert f"{method.upper()} {path}" in text
                assert [p["name"] for p in operation.get("parameters", ()) if p["name"] not in text] == []
