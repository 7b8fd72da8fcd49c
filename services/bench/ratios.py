"""Computes the ratios of docs/why/speed.md from runs. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, NamedTuple, Protocol


class Measured(Protocol):
    @property
    def contender(self) -> str: ...

    @property
    def scenario(self) -> str: ...

    @property
    def repetition(self) -> int: ...

    @property
    def rate(self) -> float: ...


class Target(NamedTuple):
    """In one scenario, ``of`` divided by the best of ``over`` must be at least ``least``."""

    name: str
    scenario: str
    of: str
    over: tuple[str, ...]
    least: float


@dataclass(frozen=True, slots=True)
class Ratio:
    """A target and the measured ratio: the median over the repetitions, the lowest and the highest."""

    name: str
    scenario: str
    ratio: float
    low: float
    high: float
    target: float
    met: bool

    def row(self) -> dict[str, Any]:
        return asdict(self)


CONNECTOR = ("connector-1", "connector-2")
TARGETS = (
    Target("facts only / connector at its best", "first", "facts", CONNECTOR, 1.0),
    Target("facts only / bulk_write with crc32c", "first", "facts", ("bulk",), 1.3),
    Target("facts only, librdkafka / connector at its best", "first", "facts-librdkafka", CONNECTOR, 2.0),
    Target("whole job / connector at its best", "first", "kith", CONNECTOR, 0.6),
    Target("whole job, librdkafka / connector at its best", "first", "kith-librdkafka", CONNECTOR, 1.0),
    *(
        Target(f"{title} / connector at its best", scenario, of, CONNECTOR, 1.0)
        for scenario in ("replay", "amended")
        for title, of in (
            ("facts only", "facts"),
            ("facts only, librdkafka", "facts-librdkafka"),
            ("whole job", "kith"),
            ("whole job, librdkafka", "kith-librdkafka"),
        )
    ),
    Target("two workers / one, whole job", "first", "kith-2", ("kith",), 1.25),
    Target("two workers / one, whole job, librdkafka", "first", "kith-librdkafka-2", ("kith-librdkafka",), 1.25),
)


def ratios(runs: Sequence[Measured], targets: Sequence[Target] = TARGETS) -> list[Ratio]:
    """A ratio for every target with both sides measured, repetition by repetition: a disturbance of the machine
    affected both."""
    rates: dict[tuple[str, int], Mapping[str, float]] = {}
    for run in runs:
        place = (run.scenario, run.repetition)
        rates[place] = {**rates.get(place, {}), run.contender: run.rate}
    found = []
    for target in targets:
        pairs = [
            by_name[target.of] / max(others)
            for (scenario, _), by_name in rates.items()
            if scenario == target.scenario
            and target.of in by_name
            and (others := [by_name[name] for name in target.over if name in by_name])
        ]
        if pairs:
            found.append(ratio(target.name, target.scenario, pairs, target.least))
    return found


def ratio(name: str, scenario: str, pairs: Sequence[float], least: float) -> Ratio:
    """The summary of one ratio's repetitions (at least one)."""
    middle = median(pairs)
    # Rounded as it is shown, so that no row reads "1.00, target 1.00, missed".
    met = round(middle, 2) >= least
    return Ratio(name, scenario, round(middle, 3), round(min(pairs), 3), round(max(pairs), 3), least, met)
