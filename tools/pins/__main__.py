"""Writes ``shared/local/artifacts.toml``, ``tools/uv.txt`` and ``services/bench/quix.txt``."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from importlib.metadata import distribution
from pathlib import Path

from jgo.env import EnvironmentBuilder
from jgo.maven import MavenContext

from shared.local.artifacts import LIST, repository
from tools.pins.wanted import JARS, MONGOD, QUIX, UV

ROOT = Path(__file__).parents[2]
HEAD = "# Written by `make pins`. What Kith fetches to run, by SHA-256: shared/local/artifacts.py.\n"


def main() -> None:
    parts = [HEAD]
    with tempfile.TemporaryDirectory() as name:
        for title, (folder, origin) in JARS.items():
            files = _one(origin) if origin.endswith(".jar") else _resolved(origin, Path(name) / title)
            parts.append(_table(title, folder, origin, files))
    package, version, path = MONGOD
    if distribution(package).version != version:
        sys.exit(f"{package} {version} is wanted, and {distribution(package).version} is installed: `make setup`")
    binary = Path(str(distribution(package).locate_file(path)))
    parts.append(_table("mongod", "mongod", f"{package}=={version}", {path: _sha256(binary.read_bytes())}))
    LIST.write_text("\n".join(parts))
    _requirements(ROOT / "tools" / "uv.txt", [f"uv=={UV}"])
    _requirements(ROOT / "services" / "bench" / "quix.txt", QUIX)


def _resolved(coordinates: str, staging: Path) -> dict[str, str]:
    context = MavenContext(repo_cache=staging / "repository", remote_repos={"central": repository()}, timeout=60)
    found = EnvironmentBuilder(context=context, cache_dir=staging / "build").from_endpoint(coordinates)
    jars = [*found.class_path_jars, *found.module_path_jars]
    names = {jar.name for jar in jars}
    paths = {path.name: path for path in (staging / "repository").rglob("*.jar") if path.name in names}
    return dict(
        sorted(
            _published(str(path.relative_to(staging / "repository")), path.read_bytes()) for path in paths.values()
        )
    )


def _one(path: str) -> dict[str, str]:
    with urllib.request.urlopen(f"{repository()}/{path}", timeout=60) as answer:
        return dict([_published(path, answer.read())])


def _published(path: str, content: bytes) -> tuple[str, str]:
    """The path and the hash of a file, which has to be what the repository publishes beside it."""
    for kind in ("sha256", "sha1"):
        try:
            with urllib.request.urlopen(f"{repository()}/{path}.{kind}", timeout=60) as answer:
                said = answer.read().decode().split()[0]
        except urllib.error.HTTPError:
            continue
        if hashlib.new(kind, content).hexdigest() != said:
            sys.exit(f"{path} is not what its {kind} in the repository says; nothing was written")
        return path, _sha256(content)
    sys.exit(f"the repository publishes no hash of {path}; nothing was written")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _table(name: str, folder: str, origin: str, files: dict[str, str]) -> str:
    lines = [f"[{name}]", f'folder = "{folder}"', f'origin = "{origin}"', "", f"[{name}.files]"]
    return "\n".join([*lines, *(f'"{path}" = "{sha256}"' for path, sha256 in files.items()), ""])


def _requirements(to: Path, wanted: "list[str] | tuple[str, ...]") -> None:
    own = ROOT / ".uv" / "bin" / "uv"
    uv = os.environ.get("UV") or shutil.which("uv") or str(own)
    head = f"# Written by `make pins`: {', '.join(wanted)} and what it needs, by hash.\n"
    done = subprocess.run(
        [uv, "pip", "compile", "--quiet", "--universal", "--generate-hashes", "--no-header", "--no-annotate",
         "--python-version", "3.11", "-"],
        input="\n".join(wanted), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        sys.exit(f"uv could not resolve {', '.join(wanted)}: {done.stderr}")
    to.write_text(head + done.stdout)


if __name__ == "__main__":
    main()
