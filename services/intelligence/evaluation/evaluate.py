"""The whole comparison: popularity, cosine, the walk and the learned model, on both splits. Pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from services.intelligence.evaluation.methods import Indexed, WalkParameters, cosine, popularity, walk
from services.intelligence.evaluation.metrics import Difference, Summary, difference
from services.intelligence.evaluation.protocol import Measured, measure, tune
from services.intelligence.evaluation.relations import Relations
from services.intelligence.evaluation.splits import Split, leave_last_out, one_day
from services.intelligence.learning.learn import TooFew, fit_model, learned, most
from services.intelligence.learning.profiles import Profiles

SPLITS = ("leave-last-out", "one-day")


@dataclass(frozen=True, slots=True)
class Line:
    """One method: its figures, and how much its NDCG@10 is above that of two others."""

    method: str
    summary: Summary
    over_popularity: Difference
    over_cosine: Difference


@dataclass(frozen=True, slots=True)
class Section:
    """One split: ``consumers`` were asked about; the walk's parameters were chosen on the training part."""

    split: str
    consumers: int
    parameters: WalkParameters
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """``notes`` say what could not be measured and why."""

    relations: int
    pairs: int
    consumers: int
    providers: int
    digest: str
    sections: tuple[Section, ...]
    notes: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """The report, for JSON."""
        document = asdict(self)
        for section in document["sections"]:
            if section["parameters"]["half_life"] == float("inf"):
                section["parameters"]["half_life"] = None
        return document


def evaluate(
    relations: Relations,
    profiles: Profiles,
    weights: Mapping[str, float] | None = None,
    splits: tuple[str, ...] = SPLITS,
    draw: int = 0,
) -> Evaluation:
    """Measures all methods. ``weights`` are the walk's, per kind. ``draw`` decides where chance does: on relations
    of one time."""
    sections, notes = [], []
    for name in splits:
        if name == "one-day" and not relations.timed:
            notes.append("one-day: the relations have no times, so they cannot be split at a moment")
            continue
        split = leave_last_out(relations, draw) if name == "leave-last-out" else one_day(relations)
        chosen = split.some(most(relations))
        if len(chosen.consumers) < len(split.consumers):
            notes.append(f"{name}: {len(chosen.consumers)} of {len(split.consumers)} consumers, chosen by a hash")
        if not len(chosen.consumers):
            notes.append(f"{name}: nobody can be asked about; a consumer needs three providers")
            continue
        section, more = _section(name, chosen, profiles, weights or {}, draw)
        sections.append(section)
        notes += more
    pairs = len(relations.pairs()[0])
    counts = (len(relations), pairs, len(relations.consumer_ids), len(relations.provider_ids))
    return Evaluation(*counts, relations.digest(), tuple(sections), tuple(notes))


def _section(
    name: str, split: Split, profiles: Profiles, weights: Mapping[str, float], draw: int
) -> tuple[Section, list[str]]:
    parameters = tune(split.train, draw, weights)
    indexed = Indexed(split.train)
    found: dict[str, Measured] = {
        "popularity": measure(split, indexed, popularity(indexed)),
        "cosine": measure(split, indexed, cosine(indexed)),
        "walk": measure(split, indexed, walk(indexed, parameters, weights)),
    }
    notes = []
    try:
        model = fit_model(split.train, profiles, parameters, weights, draw)
    except TooFew as error:
        notes.append(f"{name}: no model was learned: {error}")
    else:
        found["learned"] = measure(split, indexed, learned(indexed, model, profiles))
    lines = tuple(
        Line(
            method,
            measured.summary,
            difference(measured.ndcgs, found["popularity"].ndcgs),
            difference(measured.ndcgs, found["cosine"].ndcgs),
        )
        for method, measured in found.items()
    )
    return Section(name, len(split.consumers), parameters, lines), notes
