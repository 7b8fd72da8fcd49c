"""What is installed or fetched is what was written down: every file by its hash, every action by its commit."""

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from shared.local import mongo
from shared.local.artifacts import LIST
from shared.local.containers import KAFKA_IMAGE, MONGO_IMAGE
from tests.support.paths import ROOT
from tools.pins.images import FILES, pinned, write
from tools.pins.wanted import IMAGES, JARS, KAFKA, MONGOD, QUIX, UV

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


# What is fetched beside the packages: tools/pins


def test_the_list_of_hashes_is_of_the_versions_that_are_wanted() -> None:
    found = tomllib.loads(LIST.read_text())
    package, version, inside = MONGOD
    assert {name: (found[name]["folder"], found[name]["origin"]) for name in found} == {
        **{name: tuple(jars) for name, jars in JARS.items()},
        "mongod": ("mongod", f"{package}=={version}"),
    }, "`make pins` writes it"
    assert list(found["mongod"]["files"]) == [inside]
    for name, jars in JARS.items():
        files = found[name]["files"]
        assert len({PurePosixPath(path).name for path in files}) == len(files), "two jars of one name"
        for group, artifact, number in re.findall(r"([\w.]+):([\w.-]+):([\w.]+?)(?=[+!]|$)", jars.origin):
            assert f"{group.replace('.', '/')}/{artifact}/{number}/{artifact}-{number}.jar" in files
    for part in found.values():
        assert all(re.fullmatch(r"[0-9a-f]{64}", sha256) for sha256 in part["files"].values())


def test_the_versions_in_code_are_those_of_the_list() -> None:
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["local"]
    package, version, _ = MONGOD
    assert any(wanted.startswith(f"{package}=={version};") for wanted in extra)
    assert package == mongo.WHEEL
    assert (IMAGES["KAFKA_IMAGE"], IMAGES["MONGO_IMAGE"]) == (KAFKA_IMAGE, MONGO_IMAGE)
    assert KAFKA in IMAGES["KAFKA_IMAGE"]
    for file, wanted in (("tools/uv.txt", (f"uv=={UV}",)), ("services/bench/quix.txt", QUIX)):
        lines = (ROOT / file).read_text().splitlines()
        for requirement in wanted:
            pinned_line = re.sub(r"\[.*\]", "", requirement) + " "
            assert any(line.startswith(pinned_line) for line in lines), file


@pytest.mark.parametrize("file", ["tools/uv.txt", "services/bench/quix.txt"])
def test_requirements_are_held_by_hash(file: str) -> None:
    text = (ROOT / file).read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    assert lines
    assert [line for line in lines if not re.match(r"\S+==\S+ .*--hash=sha256:[0-9a-f]{64}", line)] == []


def unpinned(file: str, text: str) -> list[str]:
    """The places in a file that fetch what nothing holds: a floating image, action or package."""
    found = []
    for action in re.findall(r"uses:\s*(\S+)", text):
        if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action):
            found.append(f"{file}: {action} is not an action at a commit")
    for image in re.findall(r"^(?:FROM|\s*image:)\s+(\S+)", text, re.MULTILINE):
        name = re.fullmatch(r"\$\{([A-Z_]+)(?::-([^}]*))?\}", image)
        wanted = IMAGES.get(name[1]) if name else None
        if image not in BUILT_HERE and (name is None or wanted is None or (name[2] or wanted) != wanted):
            found.append(f"{file}: {image} is no image of tools/pins/wanted.py")
    for variable, value in re.findall(r"\b([A-Z]+_IMAGE)(?:=|:\s*\$\{[A-Z_]+:-)([^\s}]+)", text):
        if IMAGES.get(variable) != value:
            found.append(f"{file}: {variable} is not {IMAGES.get(variable)}")
    for line in text.replace("\\\n", " ").splitlines():
        installs = re.search(
            r"\bpip3? install|\buv (?:tool run|pip install|add)\b|\buvx\b|\bnpx?\b|\bcurl\b|\bwget\b", line
        )
        if installs and "--require-hashes" not in line:
            found.append(f"{file}: {line.strip()}")
    return found


BUILT_HERE = ("kith", "kith-gateway")
FETCHING = ("Dockerfile", "docker-compose.yml", "Makefile", ".ci/run", ".github/workflows/ci.yml")


def test_nothing_that_floats_is_fetched() -> None:
    assert {f".github/workflows/{path.name}" for path in (ROOT / ".github/workflows").iterdir()} <= set(FETCHING)
    assert [place for file in FETCHING for place in unpinned(file, (ROOT / file).read_text())] == []


#: PyPI has a package of that name, which is somebody else's.
BY_NAME = re.compile(r"""\binstall\s+(?:-\S+\s+)*['"]?kith\b|\bkith\[[a-z{]""")


def test_nobody_is_told_to_install_kith_by_its_name() -> None:
    texts = [ROOT / name for name in ("README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    for folder, kinds in {"docs": "md", "services": "py", "shared": "py"}.items():
        texts += sorted((ROOT / folder).rglob(f"*.{kinds}"))
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in texts
        for line in path.read_text().splitlines()
        if BY_NAME.search(line)
    ]
    # Helm's name of the release, from a folder.
    assert [line for line in found if "helm install kith deploy/" not in line] == []


@pytest.mark.parametrize(
    "line", ["pip install kith", "pip install -U 'kith[api]'", "install kith[local]", "f'kith[{name}]'"]
)
def test_such_a_line_is_found(line: str) -> None:
    assert BY_NAME.search(line)


@pytest.mark.parametrize(
    "line",
    [
        "      - uses: actions/checkout@v4",
        "    - uses: actions/checkout@main",
        "FROM python:3.11-slim AS build",
        "FROM ${OTHER_IMAGE} AS build",
        "    image: mongo:latest",
        "    image: ${MONGO_IMAGE:-mongo:7.0}",
        "ARG PYTHON_IMAGE=python:3.13-slim",
        "RUN pip install uv",
        "\t.uv/bin/pip install --quiet uv==0.13.9",
        "\t$(UV) tool run pip-audit; uv tool run pip-audit",
        "RUN curl -L https://example.org/install.sh | sh",
    ],
)
def test_an_unpinned_one_is_found(line: str) -> None:
    assert unpinned("file", line + "\n") != []


def test_images_are_written_by_the_digest_that_the_registry_serves() -> None:
    asked: list[str] = []

    def docker(command: Sequence[str]) -> str:
        asked.append(" ".join(command[:3]))
        image = command[-1].rpartition(":")[0]
        return f"other@sha256:1\ndocker.io/{image}@sha256:{'a' * 64}\n" if command[1] == "image" else ""

    assert pinned(docker) == {variable: f"{image}@sha256:{'a' * 64}" for variable, image in IMAGES.items()}
    assert asked[0].startswith("docker pull"), "what this machine happens to hold counts for nothing"
    with pytest.raises(LookupError, match="comes from no registry"):
        pinned(lambda _: "")


def test_images_are_written_beside_what_else_compose_reads(tmp_path: Path) -> None:
    """A file of --env-file would take the place of `.env`, and with it of the master key."""
    file = tmp_path / ".env"
    images = {variable: f"{image}@sha256:{'a' * 64}" for variable, image in IMAGES.items()}
    write(file, images)
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text("KITH_MASTER_KEY=a=b\n# mine\n\nMONGO_IMAGE=mongo:old\nKITH_RATE_LIMIT=\n")
    file.chmod(0o640)
    for _ in range(2):
        write(file, images)
    lines = file.read_text().splitlines()
    assert lines == [
        *("KITH_MASTER_KEY=a=b", "# mine", "", "KITH_RATE_LIMIT="),
        *(f"{name}={image}" for name, image in images.items()),
    ]
    assert file.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in tmp_path.iterdir()] == [".env"]
    assert [str(path.relative_to(ROOT)) for path in FILES] == [".env", "deploy/.env"]


@pytest.mark.parametrize("path", ["docs", "deploy", "docker-compose.yml", "Makefile", "README.md", "SECURITY.md"])
def test_nobody_is_told_to_replace_what_compose_reads(path: str) -> None:
    texts = (
        [ROOT / path]
        if (ROOT / path).is_file()
        else [each for each in (ROOT / path).rglob("*.*") if each.is_file()]
    )
    assert [
        str(each)
        for each in texts
        if each.suffix in (".md", ".yml", ".sh", "") and "--env-file" in each.read_text()
    ] == []


def test_what_builds_the_package_is_locked_too() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["uv"]["no-build-isolation-package"] == ["kith"]
    assert set(project["build-system"]["requires"]) <= set(project["dependency-groups"]["build"])
