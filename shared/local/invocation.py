"""How a terminal calls this command: by its name, or by its path where the name is not found."""

import shutil
import sys
from pathlib import Path

_NAME = "kith"


def invocation() -> str:
    """``kith``, or the path of the command beside this Python where the shell finds none: a folder like .venv/bin
    is rarely on the PATH."""
    own = Path(sys.executable).with_name(_NAME)
    if shutil.which(_NAME) is not None or not own.exists():
        return _NAME
    return str(own.relative_to(Path.cwd()) if own.is_relative_to(Path.cwd()) else own)


def path_hint() -> str | None:
    """What to say where ``kith`` alone would not be found."""
    called = invocation()
    return None if called == _NAME else f"kith is not on the PATH of this terminal: call it {called}."
