"""Where the project's files lie."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
DATA = TESTS / "data"
#: One event of each type and version, as it is on the wire.
EXAMPLES = TESTS / "examples"
