"""The status on a terminal or for a program, once or every second."""

import time
from collections.abc import Callable, Sequence

import orjson
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.segment import Segment
from rich.text import Text

from services.cli.health import Health, as_json
from services.cli.status_view import status_view
from shared.contracts.errors import Unavailable
from shared.observability.status import Status

_EVERY_SECONDS = 1.0
Read = Callable[[], tuple[Status, Sequence[Health]]]


def show_status(read: Read, *, json_line: bool, watch: bool) -> None:
    """Print the result of ``read``, once or, with ``watch``, every second until Ctrl-C. Raises Unavailable; with
    ``watch``, it shows an unavailable server instead."""
    console = Console()
    try:
        if not watch:
            _print(read, json_line, console)
        elif json_line or not console.is_terminal:
            while True:
                _print(read, json_line, console)
                time.sleep(_EVERY_SECONDS)
        else:
            _watch(read, console)
    except KeyboardInterrupt:
        return


def _print(read: Read, json_line: bool, console: Console) -> None:
    status, services = read()
    if json_line:
        found = {"services": as_json(services), **status.as_dict()}
        print(orjson.dumps(found, option=orjson.OPT_UTC_Z).decode(), flush=True)
    else:
        console.print(*status_view(status, services, console), sep="\n")


def _watch(read: Read, console: Console) -> None:
    last: RenderableType = Text("")
    try:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                try:
                    status, services = read()
                    last = Group(*status_view(status, services, console, only_behind=True))
                except Unavailable as error:
                    last = Text(f"! {error}", style="red")
                live.update(Screenful(last), refresh=True)
                time.sleep(_EVERY_SECONDS)
    finally:
        # Print the last status again after the alternate screen has closed.
        console.print(last)


class Screenful:
    """The lines that fit the screen, and the number of lines below."""

    def __init__(self, whole: RenderableType) -> None:
        self._whole = whole

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = options.height or console.height
        lines = console.render_lines(self._whole, options.update(height=None), pad=False)
        if len(lines) > height:
            left = len(lines) - height + 1
            note = f"… {left} more lines in a higher window"[: options.max_width]
            lines = [*lines[: height - 1], [Segment(note)]]
        for number, line in enumerate(lines):
            if number:
                yield Segment.line()
            yield from line
