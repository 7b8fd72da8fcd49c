"""How often a relation followed what was shown, by model. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar, Protocol

from pydantic import Field, StringConstraints

from services.intelligence.outcomes.shown import Recording
from shared.access.lineage import DerivedFrom
from shared.contracts.events import EPOCH
from shared.measures.days import day_of
from shared.measures.query import PeriodQuery
from shared.measures.wilson import wilson
from shared.runtime.protocols import Document

_DAYS = 365


class OutcomesQuery(PeriodQuery):
    """The period in which the lists were shown: by default the last year."""

    days: ClassVar[int | None] = _DAYS

    model: Annotated[str | None, StringConstraints(max_length=100), DerivedFrom()] = Field(
        None, description="Only lists of this model: `walk`, or name and version such as `logit:3`."
    )


class Counts(Protocol):
    """What an OutcomeStore counts."""

    def counts(
        self, tenant: str, start: datetime, end: datetime, now: datetime
    ) -> tuple[list[Document], list[Document], int]: ...


def report(store: Counts, recording: Recording, tenant: str, query: OutcomesQuery, now: datetime) -> Document:
    """The answer of `/v1/outcomes`. Raises BadMeasure, and what the store raises."""
    span = query.span(day_of(now), query.days)
    start, end = (EPOCH + timedelta(days=day) for day in (span.first, span.end))
    models, ranks, still_open = store.counts(tenant, start, end, now)
    return {
        "models": [each for each in rates(models, ranks) if query.model in (None, each["model"])],
        "open": still_open,
        "share": recording.share,
        "window_days": recording.window / timedelta(days=1),
    }


def rates(models: Iterable[Mapping[str, Any]], ranks: Iterable[Mapping[str, Any]]) -> list[Document]:
    """The rates by model, most lists first, of the counts of an OutcomeStore. Rates are from 0 to 1, ``low`` and
    ``high`` their Wilson interval of 95 %. Source: ``shared.measures.wilson``."""
    by_model: dict[str, list[Mapping[str, Any]]] = {}
    for each in ranks:
        by_model.setdefault(each["model"], []).append(each)
    listed = []
    for each in sorted(models, key=lambda m: (-m["lists"], m["model"])):
        places = sorted(by_model.get(each["model"], ()), key=lambda place: place["rank"])
        shown = sum(place["shown"] for place in places)
        followed = sum(place["followed"] for place in places)
        listed.append(
            {
                "model": each["model"],
                "lists": _rate(each["followed"], each["lists"]),
                "items": _rate(followed, shown),
                "by_rank": [
                    {"rank": place["rank"], **_rate(place["followed"], place["shown"])} for place in places
                ],
            }
        )
    return listed


def _rate(followed: int, shown: int) -> Document:
    low, high = wilson(followed, shown)
    rate = followed / shown if shown else None
    return {"shown": shown, "followed": followed, "rate": rate, "low": low, "high": high}
