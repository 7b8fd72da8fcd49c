"""The table of faults in docs/why/faults.md, from the reports of the tests that make them."""

import re
from collections.abc import Iterable, Iterator

import pytest

from tests.fault.titles import TITLES

_PLACE = re.compile(r"tests/fault/(?:test_)?(\w+)\.py::test_(\w+?)(?:\[(.*)\])?$")
_CLIENTS = ("kafka-python", "librdkafka")


def fault_table(reports: Iterable[pytest.TestReport], document: str = "") -> str:
    """A row per test: what was done, with which Kafka clients, whether the invariant held, and seconds. Rows of
    ``document`` stay whose tests are still there and were not run now."""
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
    lines = {title: line for title, line in _stated(document) if title not in rows}
    for title, runs in rows.items():
        held = "held" if all(passed for _, passed, _ in runs) else "**broken**"
        if "it goes red" in title:
            held = "broken, as it must be" if held == "held" else "**not seen to break**"
        clients = ", ".join(client for client, _, _ in runs)
        lines[title] = f"| {title} | {clients} | {held} | {', '.join(f'{seconds:.0f}' for *_, seconds in runs)} |"
    head = ["| Fault, on real processes under load | Kafka client | Invariant | Seconds |", "|---|---|---|---|"]
    return "\n".join([*head, *(line for _, line in sorted(lines.items()))])


def _stated(document: str) -> Iterator[tuple[str, str]]:
    """Title and line of each row that some test may have made."""
    known = tuple(TITLES.values())
    for line in document.splitlines():
        if line.startswith("| ") and (title := line.split(" | ")[0].removeprefix("| ")).startswith(known):
            yield title, line


def _client(parameters: str) -> tuple[str, str]:
    """The parameters without the client, and the client."""
    for client in _CLIENTS:
        if client in parameters:
            rest = parameters.replace(client, "").replace("--", "-").strip("-")
            return rest, client
    return parameters, ""
