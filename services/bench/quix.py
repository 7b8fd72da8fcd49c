"""A separate environment for Quix Streams, which does not work with Kith's version of pydantic."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from shared.contracts.errors import ConfigurationError
from shared.local.cache import locked

#: By version and hash; `make pins` writes it.
REQUIREMENTS = Path(__file__).with_name("quix.txt")
FOLDER = "bench-quix-3.28.1"


def interpreter() -> Path:
    """The environment's Python, installed by uv in the first call on a machine. Raises ConfigurationError if that
    fails."""
    with locked(FOLDER) as cache:
        folder = cache / FOLDER
        if not folder.exists():
            uv = _find_uv()
            with tempfile.TemporaryDirectory(dir=cache, prefix="download-") as staging:
                # An environment knows its own path, so it is made in place; this file, moved there last,
                # says that it is complete.
                marker = Path(staging) / "complete"
                marker.touch()
                target = cache / f"{FOLDER}.venv"
                _run([uv, "venv", "--quiet", "--clear", "--python", "3.11", str(target)])
                python = str(target / "bin" / "python")
                _run(
                    [
                        uv,
                        "pip",
                        "install",
                        "--quiet",
                        "--python",
                        python,
                        "--require-hashes",
                        "-r",
                        str(REQUIREMENTS),
                    ]
                )
                marker.rename(folder)
        return cache / f"{FOLDER}.venv" / "bin" / "python"


def _find_uv() -> str:
    found = os.environ.get("UV") or shutil.which("uv")
    local = Path(__file__).parents[2] / ".uv" / "bin" / "uv"
    if found is None and local.exists():
        found = str(local)
    if found is None:
        raise ConfigurationError("installing Quix Streams needs uv, which was not found")
    return found


def _run(argv: list[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ConfigurationError(f"Quix Streams could not be installed: {done.stderr.strip()[-500:]}")
