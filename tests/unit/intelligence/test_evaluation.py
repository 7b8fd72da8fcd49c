"""The evaluation against a second one, slow and simple, which shares no code with it."""

import math
import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from services.intelligence.engine import Question
from services.intelligence.evaluation.evaluate import evaluate
from services.intelligence.evaluation.methods import Indexed, WalkParameters, cosine, popularity, walk
from services.intelligence.evaluation.metrics import difference, ndcg, ranks
from services.intelligence.evaluation.protocol import measure, tune
from services.intelligence.evaluation.relations import Relation, Relations
from services.intelligence.evaluation.splits import leave_last_out, one_day
from services.intelligence.learning.profiles import Profiles
from tests.support.graph import SlowGraph

START = datetime(2025, 1, 1, tzinfo=UTC)


def market(seed: int = 1, relations: int = 500, timed: bool = True) -> list[Relation]:
    draw = random.Random(seed)
    return [
        Relation(
            f"c{draw.randrange(40):02d}",
            f"p{int(draw.random() ** 2 * 25):02d}",
            START + timedelta(hours=draw.randrange(8_000)) if timed else None,
            draw.choice(("purchase", "view")),
        )
        for _ in range(relations)
    ]


def slow_split(relations: list[Relation]) -> tuple[list[Relation], dict[str, list[str]]]:
    """Leave the last new provider out; all times differ."""
    train, asked = [], {}
    for consumer in sorted({row.consumer_id for row in relations}):
        rows = sorted((row for row in relations if row.consumer_id == consumer), key=lambda row: str(row.time))
        firsts: dict[str, datetime] = {}
        for row in rows:
            assert row.time is not None
            firsts.setdefault(row.provider_id, row.time)
        if len(firsts) >= 3:
            last = max(firsts, key=lambda id: firsts[id])
            asked[consumer] = [last]
            rows = [row for row in rows if row.time is not None and row.time < firsts[last]]
        train += rows
    return train, asked


def slow_scores(method: str, train: list[Relation], consumer: str, parameters: WalkParameters) -> dict[str, float]:
    known: dict[str, set[str]] = {}
    for row in train:
        known.setdefault(row.provider_id, set()).add(row.consumer_id)
    mine = [id for id, consumers in known.items() if consumer in consumers]
    if method == "popularity":
        return {id: float(len(consumers)) for id, consumers in known.items()}
    if method == "cosine":
        return {
            id: round(
                sum(len(consumers & known[each]) / math.sqrt(len(consumers) * len(known[each])) for each in mine),
                9,
            )
            for id, consumers in known.items()
        }
    pairs: dict[tuple[str, str], dict[str, dict[str, dict[str, int]]]] = {}
    for row in train:
        assert row.time is not None
        months = pairs.setdefault((row.consumer_id, row.provider_id), {}).setdefault(row.kind, {})
        months.setdefault(f"{row.time:%Y-%m}", {"count": 0})["count"] += 1
    now = max(f"{row.time:%Y-%m}" for row in train)
    slow = SlowGraph(pairs, Question(now, half_life=parameters.half_life))
    return {
        target: sum(part for by_met in terms.values() for part in by_met.values())
        * len(known[target]) ** -parameters.beta
        for target, terms in slow.wholes("consumer", consumer).items()
    }


@pytest.mark.parametrize("method", ["popularity", "cosine", "walk"])
def test_a_second_implementation_measures_the_same(method: str) -> None:
    rows = list({(row.consumer_id, row.time): row for row in market()}.values())
    parameters = WalkParameters(0.4, 6.0)
    train, asked = slow_split(rows)
    ids = sorted({row.provider_id for row in rows})
    ndcgs, hits, shown = [], [], Counter(dict.fromkeys(ids, 0))
    for consumer, answers in asked.items():
        scores = slow_scores(method, train, consumer, parameters)
        known = {row.provider_id for row in train if row.consumer_id == consumer}
        unseen = [id for id in ids if id not in known]
        target = scores.get(answers[0], 0.0)
        better = sum(scores.get(id, 0.0) > target * (1 + 1e-9) for id in unseen)
        equal = sum(math.isclose(scores.get(id, 0.0), target, rel_tol=1e-9) for id in unseen)
        place = 1 + better + (equal - 1) / 2
        ndcgs.append(1 / math.log2(1 + place) if place <= 10 else 0.0)
        hits.append(place <= 10)
        shown.update(sorted(unseen, key=lambda id: (-scores.get(id, 0.0), id))[:10])

    split = leave_last_out(Relations.of(rows))
    indexed = Indexed(split.train)
    methods = {"popularity": popularity(indexed), "cosine": cosine(indexed), "walk": walk(indexed, parameters)}
    measured = measure(split, indexed, methods[method])
    assert len(measured.ndcgs) == len(asked) > 30
    assert measured.ndcgs.tolist() == pytest.approx(ndcgs)
    mean = sum(ndcgs) / len(ndcgs)
    spread = math.sqrt(sum((each - mean) ** 2 for each in ndcgs) / (len(ndcgs) - 1) / len(ndcgs))
    counts = sorted(shown.values())
    gini = sum(abs(a - b) for a in counts for b in counts) / (2 * len(counts) * sum(counts))
    found = measured.summary
    expected = (mean, spread, sum(hits) / len(hits), sum(count > 0 for count in counts) / len(counts), gini)
    assert (found.ndcg, found.error, found.hits, found.coverage, found.gini) == pytest.approx(expected)


def test_a_split_knows_nothing_from_the_held_out_relation_on() -> None:
    for draw, timed in ((0, True), (3, False)):
        relations = Relations.of(market(2, timed=timed))
        split = leave_last_out(relations, draw)
        train = split.train
        held = dict(zip(split.consumers.tolist(), (each[0] for each in split.answers), strict=True))
        pairs = set(zip(train.consumers.tolist(), train.providers.tolist(), strict=True))
        assert not pairs & set(held.items())
        firsts = {(c, p): t for c, p, t in zip(*(each.tolist() for each in relations.pairs()), strict=True)}
        for consumer, time in zip(train.consumers.tolist(), train.times.tolist(), strict=True):
            if timed and consumer in held:
                assert time <= firsts[consumer, held[consumer]]
        seen = Counter(consumer for consumer, _ in firsts)
        assert set(held) == {consumer for consumer, count in seen.items() if count >= 3}
    assert leave_last_out(relations, 3).answers == split.answers
    assert leave_last_out(relations, 4).answers != split.answers


def test_one_day_divides_all_relations_at_one_moment() -> None:
    relations = Relations.of(market(3, 2_000))
    split = one_day(relations, 0.2)
    moment = min(relations.times[np.isin(relations.times, split.train.times, invert=True)])
    assert split.train.times.max() < moment
    assert moment % 3_600_000_000 == 0
    new = 0
    for consumer, answers in zip(split.consumers.tolist(), split.answers, strict=True):
        before = set(split.train.providers[split.train.consumers == consumer].tolist())
        after = relations.providers[(relations.consumers == consumer) & (relations.times >= moment)]
        assert before
        assert set(answers) == set(after.tolist()) - before
        new += len(answers)
    assert new > 20
    with pytest.raises(ValueError, match="without times"):
        one_day(Relations.of(market(3, timed=False)))


def test_ties_count_half() -> None:
    scores = np.array([3.0, 1.0, 1.0, 1.0, 0.0])
    assert ranks(scores, np.arange(5), [1]) == [3.0]
    assert ranks(scores, np.arange(1, 5), [0 + 1, 4]) == [2.0, 4.0]
    assert ndcg([1.0]) == 1.0
    assert ndcg([10.5]) == 0.0
    assert ndcg([1.0, 2.0]) == pytest.approx(1.0)
    assert ndcg([2.0, 11.0]) == pytest.approx((1 / math.log2(3)) / (1 + 1 / math.log2(3)))


def test_a_difference_is_certain_beyond_two_standard_errors() -> None:
    base = np.zeros(100)
    assert difference(base + np.tile([0.0, 1.0], 50), base).certain
    assert not difference(np.tile([-1.0, 1.0], 50) + 0.1, base).certain
    assert not difference(base, base).certain


def test_nothing_depends_on_the_order_of_relations() -> None:
    rows = market(4)
    shuffled = rows[:]
    random.Random(5).shuffle(shuffled)
    one, two = Relations.of(rows), Relations.of(shuffled)
    assert one.digest() == two.digest() != Relations.of(rows[:-1]).digest()
    splits = ("leave-last-out",)
    assert evaluate(one, Profiles(), splits=splits) == evaluate(two, Profiles(), splits=splits)
    assert tune(one) == tune(two)


def test_times_are_of_all_relations_or_of_none() -> None:
    with pytest.raises(ValueError, match="1 of 2 relations have no time"):
        Relations.of([Relation("a", "b", START, "k"), Relation("a", "c", None, "k")])


def test_too_little_is_said() -> None:
    report = evaluate(Relations.of([Relation("a", "b", START, "k")]), Profiles())
    assert report.sections == ()
    assert [note.split(":")[0] for note in report.notes] == ["leave-last-out", "one-day"]


def test_each_split_says_why_nobody_can_be_asked_about() -> None:
    rows = [Relation(f"c{n}", f"p{n}", START + timedelta(days=n), "view") for n in range(40)]
    last, day = evaluate(Relations.of(rows), Profiles()).notes
    assert last == "leave-last-out: nobody can be asked about; a consumer needs three providers"
    assert day.startswith("one-day: nobody can be asked about; ")
    assert "three providers" not in day
    # All on one day: nothing is known before it.
    together = [Relation(f"c{n % 9}", f"p{n % 7}", START, "view") for n in range(63)]
    found = evaluate(Relations.of(together), Profiles())
    assert [section.split for section in found.sections] == ["leave-last-out"]
    assert day in found.notes
