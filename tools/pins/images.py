"""Writes each image by the digest that its registry serves into the two files that docker-compose reads by itself:
``.env``, and ``deploy/.env`` of deploy/compose.production.yml. What else stands in them stays."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tools.pins.wanted import IMAGES

ROOT = Path(__file__).parents[2]
FILES = (ROOT / ".env", ROOT / "deploy/.env")
Run = Callable[[Sequence[str]], str]


def pinned(run: Run) -> dict[str, str]:
    """By variable, the image with its digest. ``run`` returns what a command prints, and raises OSError or
    CalledProcessError."""
    images = {}
    for variable, image in IMAGES.items():
        run(["docker", "pull", "--quiet", image])
        said = run(["docker", "image", "inspect", "--format", '{{join .RepoDigests "\\n"}}', image]).split()
        name = image.rpartition(":")[0]
        found = [each for each in said if each.partition("@")[0].endswith(name)]
        if not found:
            raise LookupError(f"{image} has no digest: it was built on this machine and comes from no registry")
        images[variable] = f"{image}@{found[0].partition('@')[2]}"
    return images


def with_images(text: str, images: dict[str, str]) -> str:
    """The lines of a file of compose's, with these variables at its end and nowhere else."""
    stated = re.compile(rf"\s*(?:export\s+)?(?:{'|'.join(images)})\s*=")
    kept = [line for line in text.splitlines() if not stated.match(line)]
    return "".join(f"{line}\n" for line in (*kept, *(f"{name}={image}" for name, image in images.items())))


def write(path: Path, images: dict[str, str]) -> None:
    """It may hold the master key: it is its owner's alone, and whole at any time."""
    try:
        text, mode = path.read_text(), path.stat().st_mode & 0o777
    except FileNotFoundError:
        text, mode = "", 0o600
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(with_images(text, images))
        os.fchmod(file.fileno(), mode)
    new.replace(path)


def _run(command: Sequence[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    try:
        found = pinned(_run)
        for path in FILES:
            write(path, found)
    except FileNotFoundError:
        sys.exit("Docker is not installed here; nothing was written")
    except subprocess.CalledProcessError as error:
        sys.exit(f"`{' '.join(error.cmd)}` failed: {error.stderr.strip()}; nothing was written")
    except LookupError as error:
        sys.exit(f"{error}; nothing was written")
