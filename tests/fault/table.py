"""The table of faults in docs/why/faults.md, from the reports of the tests that make them."""

import re
from collections.abc import Iterable

import pytest

from tests.fault.titles import TITLES

_PLACE = re.compile(r"tests/fault/(?:test_)?(\w+)\.py::test_(\w+?)(?:\[(.*)\])?$")
_CLIENTS = ("kafka-python", "librdkafka")


def fault_table(reports: Iterable[pytest.TestReport]) -> str:
    """A row per test: what was done, with which Kafka clients, whether the invariant held, and seconds."""
    rows: dict[str, list[tuple[str, bool, float]]] = {}
    for report in reports:
        found = _PLACE.search(report.nodeid)
        if report.when != "call" or found is None:
            continue
        module, test, parameters = found.groups()
        rest, client = _client(parameters or "")
        title = TITLES.get((module, test), f"{module}: {test}".replace("_", " "))
        rows.setdefault(title + (f" ({rest})" if rest else ""), []).append(
            (client, report.passed, report.duration)
        )
    lines = ["| Fault, on real processes under load | Kafka client | Invariant | Seconds |", "|---|---|---|---|"]
    for title, runs in sorted(rows.items()):
        held = "held" if all(passed for _, passed, _ in runs) else "**broken**"
        if "it goes red" in title:
            held = "broken, as it must be" if held == "held" else "**not seen to break**"
        clients = ", ".join(client for client, _, _ in runs)
        lines.append(f"| {title} | {clients} | {held} | {', '.join(f'{seconds:.0f}' for *_, seconds in runs)} |")
    return "\n".join(lines)


def _client(parameters: str) -> tuple[str, str]:
    """The parameters without the client, and the client."""
    for client in _CLIENTS:
        if client in parameters:
            rest = parameters.replace(client, "").replace("--", "-").strip("-")
            return rest, client
    return parameters, ""
