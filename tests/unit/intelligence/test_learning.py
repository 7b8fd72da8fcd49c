"""The learned model: what it finds, what it keeps, and when it is used."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest

from services.intelligence.engine import Question, Ranking
from services.intelligence.evaluation.evaluate import evaluate
from services.intelligence.evaluation.relations import Relation, Relations
from services.intelligence.learning.features import MEANINGS, Features
from services.intelligence.learning.learn import Lesson, TooFew, learn
from services.intelligence.learning.logit import Choice, Stacked, _loss, fit
from services.intelligence.learning.model import LearnedRanking, Model, Recommender
from services.intelligence.learning.profiles import Place, Profiles, kilometres

MONTH = "2000-01"


def town(seed: int = 1, near: bool = True, consumers: int = 50) -> tuple[list[Relation], Profiles]:
    """Consumers and providers in a town. With ``near``, consumers choose those near by; else any."""
    draw = random.Random(seed)

    def place() -> Place:
        return Place(48 + draw.random() / 10, 11 + draw.random() / 10)

    homes = {f"c{number:02d}": place() for number in range(consumers)}
    shops = {f"p{number:02d}": place() for number in range(40)}
    relations = []
    for consumer, home in homes.items():
        order = sorted(
            shops,
            key=lambda id: (shops[id].latitude - home.latitude) ** 2 + (shops[id].longitude - home.longitude) ** 2,
        )
        chosen = draw.sample(order[:9] if near else order, 5)
        relations += [Relation(consumer, id, None, "visit") for id in chosen]
    categories = {id: frozenset({draw.choice(("bakery", "bar"))}) for id in shops}
    return relations, Profiles(homes, shops, categories)


@pytest.fixture(scope="module")
def taught() -> Lesson:
    relations, profiles = town()
    return learn(Relations.of(relations), profiles, draws=2)


def test_the_logit_finds_the_weights_that_choices_were_made_by() -> None:
    random = np.random.default_rng(1)
    weights = np.array([1.5, -0.7, 0.0])
    choices = []
    for _ in range(1_500):
        features = random.normal(size=(20, 3))
        chances = np.exp(features @ weights)
        choices.append(Choice(features, int(random.choice(20, p=chances / chances.sum()))))
    assert fit(Stacked.of(choices), 1e-6) == pytest.approx(weights, abs=0.1)
    assert np.abs(fit(Stacked.of(choices), 100.0)).max() < 0.05


def test_the_gradient_is_that_of_the_loss() -> None:
    random = np.random.default_rng(2)
    data = Stacked.of([Choice(random.normal(size=(each, 3)), each - 1) for each in (1, 4, 7)])
    at = np.array([0.3, -0.2, 0.1])
    _, gradient = _loss(at, data, 0.5)
    for axis, step in enumerate(np.eye(3) * 1e-6):
        slope = (_loss(at + step, data, 0.5)[0] - _loss(at - step, data, 0.5)[0]) / 2e-6
        assert gradient[axis] == pytest.approx(slope, abs=1e-6)


def test_places_are_used_where_they_matter(taught: Lesson) -> None:
    assert taught.accepted
    assert taught.learned.ndcg > taught.walk.ndcg + 0.05
    assert taught.model.choices > 100


def test_a_model_that_is_no_better_is_not_used() -> None:
    relations, profiles = town(near=False)
    assert not learn(Relations.of(relations), profiles, draws=2).accepted


def test_what_is_held_out_is_not_learned_from(taught: Lesson) -> None:
    """The model that is kept is that of all relations; the one that is evaluated is not."""
    relations, profiles = town()
    all = Relations.of(relations)
    assert taught.model.digest == all.digest()
    section = evaluate(all, profiles).sections[0]
    learned = next(line for line in section.lines if line.method == "learned")
    assert 0.3 < learned.summary.ndcg < 0.95


def test_a_model_is_what_its_document_says(taught: Lesson) -> None:
    document = json.loads(json.dumps(taught.document()))
    assert Model.of(document["model"]) == taught.model
    assert document["evaluation"]["accepted"] is True
    assert not any(id in json.dumps(document) for id in ("c01", "p01"))
    with pytest.raises(ValueError, match="unknown features"):
        Model.of({**document["model"], "features": ["fortune"]})
    with pytest.raises(ValueError, match="as many"):
        Model.of({**document["model"], "weights": [1.0]})
    with pytest.raises(KeyError):
        Model.of({})


def test_terms_add_up_to_the_score_and_chances_to_one(taught: Lesson) -> None:
    relations, profiles = town()
    graph = Relations.of(relations).graph()
    recommender = Recommender(taught.model, graph, profiles)
    for consumer in ("c00", "c07"):
        ranking = recommender.recommend(consumer, Question(MONTH, limit=100, reasons=100))
        assert isinstance(ranking, LearnedRanking)
        assert len(ranking.answers) == ranking.candidates == 35
        assert sum(answer.chance for answer in ranking.answers) == pytest.approx(1)
        scores = [answer.score for answer in ranking.answers]
        assert scores == sorted(scores, reverse=True)
        for answer in ranking.answers:
            assert answer.score == sum(term.points for term in answer.terms)
            assert {term.name for term in answer.terms} == set(taught.model.features)
            assert answer.walk.whole == sum(via.whole for via in answer.walk.via) + answer.walk.rest_whole
    some = frozenset(answer.id for answer in ranking.answers[::3])
    only = recommender.recommend("c07", Question(MONTH, limit=100, among=some, reasons=100))
    assert isinstance(only, LearnedRanking)
    assert only.answers == ranking.answers[::3]


def test_the_walk_answers_where_the_model_cannot(taught: Lesson) -> None:
    relations, profiles = town()
    graph = Relations.of(relations).graph()
    recommender = Recommender(taught.model, graph, profiles)
    for id, question in (("nobody", Question(MONTH)), ("c00", Question(MONTH, known=True))):
        assert isinstance(recommender.recommend(id, question), Ranking)
    graph.put("new", "p00", {"visit": {MONTH: {"count": 1}}})
    graph.put("new", "brand-new", {"visit": {MONTH: {"count": 1}}})
    ranking = recommender.recommend("new", Question(MONTH, limit=100))
    assert isinstance(ranking, LearnedRanking)
    assert ranking.candidates == 39
    for consumer in graph.rows["provider"].row(graph.names["provider"].find("p01") or 0).tolist():
        graph.put(graph.names["consumer"].ids[consumer], "p01", None)
    again = recommender.recommend("new", Question(MONTH, limit=100))
    assert isinstance(again, LearnedRanking)
    assert "p01" not in {answer.id for answer in again.answers}


def test_what_is_not_known_counts_as_average(taught: Lesson) -> None:
    relations, profiles = town()
    graph = Relations.of(relations).graph()
    without = replace(profiles, provider_places={id: profiles.provider_places[id] for id in ("p00", "p01")})
    features = Features(graph, without, taught.model.question(MONTH))
    found = features.of("c00")
    assert found is not None
    points = taught.model.points(features.names, found[0])
    column = taught.model.features.index("distance")
    number = graph.names["provider"].find("p05")
    assert points[number, column] == 0
    assert np.isfinite(points).all()
    bare = Features(graph, Profiles(), taught.model.question(MONTH))
    assert bare.names == ("walk", "alike", "popularity")
    found = bare.of("c00")
    assert found is not None
    assert not taught.model.points(bare.names, found[0])[:, column].any()


def test_every_feature_has_a_meaning(taught: Lesson) -> None:
    assert set(taught.model.features) == set(MEANINGS)


def test_distances_are_those_of_the_earth() -> None:
    paris, new_york = np.radians([48.8566, 2.3522]), np.radians([40.7128, -74.0060])
    assert float(kilometres(paris, new_york)) == pytest.approx(5_837, abs=5)
    assert float(kilometres(paris, paris)) == 0


def test_too_few_consumers_are_an_error() -> None:
    relations, profiles = town(consumers=10)
    with pytest.raises(TooFew, match="10 consumers have at least three providers; learning needs 30"):
        learn(Relations.of(relations), profiles)


def test_a_model_answers_with_the_weights_that_it_was_learned_by() -> None:
    relations, profiles = town()
    kinds = ("purchase", "view")
    mixed = Relations.of(each._replace(kind=kinds[at % 2]) for at, each in enumerate(relations))
    weights = {"purchase": 50.0, "view": 0.01}
    plain, weighed = (learn(mixed, profiles, each, draws=1) for each in ({}, weights))
    assert weighed.model.kind_weights == weights
    assert weighed.model.weights != plain.model.weights
    document = json.loads(json.dumps(weighed.model.document()))
    assert Model.of(document) == weighed.model
    assert Model.of(document).question(MONTH).weights == weights
    # One of before was learned with all kinds alike, and answers so.
    del document["kind_weights"]
    assert Model.of(document).question(MONTH).weights == {}
