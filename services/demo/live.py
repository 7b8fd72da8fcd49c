"""The output of the demo while it runs: a live view on a terminal, a line every few seconds elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

_LINE_SECONDS = 2.0
_SPARKS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Strong:
    """One relationship of the list. ``share`` is its strength relative to the strongest one's, ``gained`` the
    number of relations added in the last few seconds, ``kinds`` the number of each kind."""

    consumer: str
    provider: str
    count: int
    gained: int
    share: float
    kinds: dict[str, int]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a run. Rates are per second, latencies in milliseconds. ``told_to_wait`` counts the requests
    that the door did not take: what is sent faster than the workers store is 429 while another tenant, the
    probe's, is there."""

    seconds: float
    total: int
    sent: int
    rejected: int
    told_to_wait: int
    rate_in: float
    rate_out: float
    rates: Sequence[float]
    lag: dict[str, int]
    dead_letters: int
    p50: float | None
    p99: float | None
    strongest: Sequence[Strong] = field(default=())


class View:
    """Context manager that shows snapshots on ``console``."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._spoke = -_LINE_SECONDS

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, snapshot: Snapshot) -> None:
        if self._live is not None:
            self._live.update(render(snapshot), refresh=True)
        elif snapshot.seconds - self._spoke >= _LINE_SECONDS:
            self._spoke = snapshot.seconds
            self._console.print(line(snapshot), markup=False, highlight=False, soft_wrap=True)


def line(snapshot: Snapshot) -> str:
    """One line of progress, without colours."""
    lags = ", ".join(f"{service} {count:,} behind" for service, count in snapshot.lag.items())
    return (
        f"{snapshot.seconds:5.1f} s  {snapshot.sent:,}/{snapshot.total:,} sent  "
        f"{snapshot.rate_in:,.0f}/s in  {snapshot.rate_out:,.0f}/s stored  {lags}  "
        f"p50 {_milliseconds(snapshot.p50)}  p99 {_milliseconds(snapshot.p99)}  "
        f"told to wait {snapshot.told_to_wait:,} times"
    )


def render(snapshot: Snapshot) -> RenderableType:
    """The live view, for 80 columns."""
    numbers = Table.grid(padding=(0, 2))
    for justify in ("left", "right", "left", "right", "left", "right"):
        numbers.add_column(justify=justify)
    numbers.add_row(
        *("[dim]in[/]", f"[bold green]{snapshot.rate_in:,.0f}[/] events/s"),
        *("[dim]lag of relations[/]", _lag(snapshot.lag["relations"])),
        *("[dim]latency p50[/]", _milliseconds(snapshot.p50)),
    )
    numbers.add_row(
        *("[dim]stored[/]", f"[bold cyan]{snapshot.rate_out:,.0f}[/] events/s"),
        *("[dim]lag of analytics[/]", _lag(snapshot.lag["analytics"])),
        *("[dim]latency p99[/]", _milliseconds(snapshot.p99)),
    )
    numbers.add_row(
        *("[dim]rejected[/]", f"{snapshot.rejected:,}"),
        *("[dim]dead letters[/]", _alarming(snapshot.dead_letters)),
        *("[dim]running for[/]", f"{snapshot.seconds:.0f} s"),
    )
    numbers.add_row("[dim]told to wait[/]", f"{snapshot.told_to_wait:,} times")
    progress = Table.grid(padding=(0, 2))
    done = f"{snapshot.sent:,} of {snapshot.total:,} events"
    progress.add_row(ProgressBar(snapshot.total or 1, snapshot.sent, width=40), done)
    throughput = Text.assemble(("stored ", "dim"), (sparkline(snapshot.rates), "cyan"))
    return Group(
        Text("Kith: a market around Lake Constance, live", style="bold"),
        progress,
        numbers,
        throughput,
        _strongest(snapshot.strongest),
    )


def _strongest(relationships: Sequence[Strong]) -> RenderableType:
    table = Table(box=None, padding=(0, 1, 0, 0), title_justify="left", title_style="bold")
    table.title = "Strongest relationships"
    table.add_column("consumer", width=16, no_wrap=True, overflow="ellipsis")
    table.add_column("provider", width=18, no_wrap=True, overflow="ellipsis")
    table.add_column("relations", width=10, justify="right", no_wrap=True)
    table.add_column("strength", width=8, no_wrap=True)
    table.add_column("mostly", width=24, no_wrap=True, overflow="ellipsis")
    for each in relationships:
        gained = f" [green]+{each.gained}[/]" if each.gained > 0 else ""
        full = max(1, round(each.share * 8))
        kinds = sorted(each.kinds.items(), key=lambda item: -item[1])
        table.add_row(
            Text(each.consumer),
            Text(each.provider),
            f"{each.count:,}{gained}",
            Text("█" * full + "░" * (8 - full), style="magenta"),
            Text(", ".join(f"{count} {kind}" for kind, count in kinds[:2]), style="dim"),
        )
    return table


def sparkline(values: Sequence[float]) -> str:
    """One block per value, the highest one full."""
    highest = max(values, default=0)
    if highest <= 0:
        return _SPARKS[0] * len(values)
    return "".join(_SPARKS[min(7, int(8 * max(0.0, value) / highest))] for value in values)


def _lag(count: int) -> str:
    return f"[yellow]{count:,}[/]" if count else "[green]0[/]"


def _alarming(count: int) -> str:
    return f"[bold red]{count:,}[/]" if count else "0"


def _milliseconds(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f} ms"
