"""Writes the generated parts of the reference pages: ``python -m tools.reference [FOLDER]``.

A page of ``docs/reference`` includes its part by ``--8<-- "NAME.md"``. The parts are not committed, so that they
cannot differ from the code.
"""

import sys
from pathlib import Path

from tools.reference.pages import parts

FOLDER = Path("build/reference")


def main(folder: Path) -> None:
    """Replace the files of ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    made = parts()
    for old in folder.glob("*.md"):
        if old.name not in made:
            old.unlink()
    for name, text in made.items():
        (folder / name).write_text(text, encoding="utf-8")
    print(f"{len(made)} generated parts in {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
