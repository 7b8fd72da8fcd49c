"""The live view of the demo."""

import io

from rich.console import Console

from services.demo.live import Snapshot, Strong, line, render

STRONG = Strong("Konstantin Wagner-Bauer", "Café Huber am Hafen", 1_234, 12, 1.0, {"purchase": 200, "visit": 30})
SNAPSHOT = Snapshot(
    seconds=33.0,
    total=10_000,
    sent=9_750,
    rejected=26,
    told_to_wait=1_204,
    rate_in=46_700.0,
    rate_out=51_900.0,
    rates=[100.0 * each for each in range(40)],
    lag={"relations": 1_838, "analytics": 11_465, "webhooks": 469},
    dead_letters=0,
    p50=2_549.0,
    p99=15_027.0,
    strongest=[STRONG] * 8,
)


def test_it_fits_a_terminal_and_says_how_often_the_door_told_the_market_to_wait() -> None:
    console = Console(width=80, height=24, record=True, file=io.StringIO())
    console.print(render(SNAPSHOT))
    lines = console.export_text().splitlines()
    assert len(lines) < 24
    assert [text.split() for text in lines if "told to wait" in text] == [["told", "to", "wait", "1,204", "times"]]
    assert "15,027 ms" in lines[3]
    assert "told to wait 1,204 times" in line(SNAPSHOT)
