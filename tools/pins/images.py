"""Writes ``images.env`` for ``docker-compose --env-file``: each image by the digest that its registry serves."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tools.pins.wanted import IMAGES

FILE = Path(__file__).parents[2] / "images.env"
Run = Callable[[Sequence[str]], str]


def pinned(run: Run) -> str:
    """The file's text. ``run`` returns what a command prints, and raises OSError or CalledProcessError."""
    lines = []
    for variable, image in IMAGES.items():
        run(["docker", "pull", "--quiet", image])
        said = run(["docker", "image", "inspect", "--format", '{{join .RepoDigests "\\n"}}', image]).split()
        name = image.rpartition(":")[0]
        found = [each for each in said if each.partition("@")[0].endswith(name)]
        if not found:
            raise LookupError(f"{image} has no digest: it was built on this machine and comes from no registry")
        lines.append(f"# {image}\n{variable}={image}@{found[0].partition('@')[2]}\n")
    return "".join(lines)


def _run(command: Sequence[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    try:
        FILE.write_text(pinned(_run))
    except FileNotFoundError:
        sys.exit("Docker is not installed here; images.env was not written")
    except subprocess.CalledProcessError as error:
        sys.exit(f"`{' '.join(error.cmd)}` failed: {error.stderr.strip()}; images.env was not written")
    except LookupError as error:
        sys.exit(f"{error}; images.env was not written")
