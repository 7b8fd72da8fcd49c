"""Every value of every answer, file and feed declares what it is derived from, and masks follow that."""

import types
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from services.analytics.dashboard.figures import Figures
from services.exports.datasets import DATASETS
from services.intelligence.answers import Affinity
from shared.access.guard import Access
from shared.access.lineage import MASKABLE, SOURCES, DerivedFrom, OrderedBy, is_maskable, reveals
from shared.access.masks import MASK, hidden_order, masked
from shared.access.query import Parameters
from shared.http.scopes import need_of, takes_any_parameter
from tests.support.routes import api_routes, bare

APPS = bare(Access(open=True))
#: Routes that answer without a model. What they say is of processes and letters, and not of consumers; a letter's
#: fields are masked by their names.
WITHOUT_MODEL = {"/v1/operations", "/v1/dead-letters", "/v1/dead-letters/replay"}
#: Parameters that neither select nor order by a field.
NEUTRAL = {
    *("limit", "cursor", "unit", "bucket", "by", "mode", "segment", "method", "direction", "minimum", "email"),
    *(
        "phone",
        "baseline_days",
        "lowest",
        "highest",
        "weight",
        "horizon_weeks",
        "horizon_months",
        "discount",
        "risk_from",
        "risk_to",
    ),
    *("erasure", "personal", "format"),
    # How an answer of intelligence is computed; its order and scores declare what they reveal.
    *("beta", "known", "explain", "model", "depth", "longest", "side", "share"),
}


def _is_model(found: Any) -> bool:
    return isinstance(found, type) and issubclass(found, BaseModel)


def models() -> Iterator[tuple[str, type[BaseModel]]]:
    for service, app in APPS.items():
        for route in api_routes(app):
            if need_of(route.endpoint).scope is not None and _is_model(route.response_model):
                yield f"{service} {route.path}", route.response_model
    yield "the live feed", Figures


def undeclared(model: type[BaseModel], path: str = "") -> list[str]:
    """Fields of numbers or texts, at any depth, that are no source and declare nothing."""
    found: list[str] = []
    for name, field in model.model_fields.items():
        here = f"{path}.{name}".removeprefix(".")
        declared = name in SOURCES or any(isinstance(each, DerivedFrom) for each in field.metadata)
        found += _undeclared(field.annotation, here, declared)
    return found


def _undeclared(annotation: Any, path: str, declared: bool) -> list[str]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        declared = declared or any(isinstance(each, DerivedFrom) for each in arguments[1:])
        return _undeclared(arguments[0], path, declared)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return undeclared(annotation, path)
    if origin is Literal or annotation in (int, float, str, date, datetime, Any):
        choice = origin is Literal and path.rpartition(".")[2] == "unit"
        return [] if declared or choice else [path]
    return [each for argument in arguments for each in _undeclared(argument, path, declared)]


@pytest.mark.parametrize(
    ("place", "model"), list(models()), ids=lambda each: each if isinstance(each, str) else ""
)
def test_every_number_and_text_of_an_answer_declares_what_it_reveals(place: str, model: type[BaseModel]) -> None:
    assert undeclared(model) == [], place


def test_the_walk_finds_what_declares_nothing() -> None:
    class Item(BaseModel):
        amount: int
        money: int
        parts: dict[str, float]
        names: list[str] | None

    class Answer(BaseModel):
        items: list[Item]
        total: Annotated[int, DerivedFrom("amount")]

    assert undeclared(Answer) == ["items.money", "items.parts", "items.parts", "items.names"]


def test_every_route_with_a_scope_has_a_model_or_masks_itself() -> None:
    without = {
        route.path
        for app in APPS.values()
        for route in api_routes(app)
        if (need := need_of(route.endpoint)).scope is not None
        and not need.masks_itself
        and not _is_model(route.response_model)
        and route.path != "/v1/events"
    }
    assert without == WITHOUT_MODEL


def test_every_parameter_declares_what_its_answers_reveal() -> None:
    for service, app in APPS.items():
        for route in api_routes(app):
            need = need_of(route.endpoint)
            if need.scope is None or service == "exports" or takes_any_parameter(route.endpoint):
                continue
            parameters = Parameters(route.dependant)
            for name, parameter in (parameters.query | parameters.path).items():
                assert parameter.lineages or name in NEUTRAL or "GET" not in (route.methods or ()), (
                    f"{service} {route.path} {name}"
                )


def test_every_column_declares_what_it_reveals() -> None:
    for dataset in DATASETS.values():
        for column in dataset.columns:
            assert column.name in SOURCES or column.tells is not None, f"{dataset.name} {column.name}"
            assert all(field.split(".")[0] in MASKABLE for field in column.tells or ())


#: A field of events → names of columns and fields that contain a sum, a mean, a share or an order of it.
KNOWN: Mapping[str, set[str]] = {
    "amount": {
        *("amount", "amounts", "value", "money", "gross", "net", "refunds", "refund_count", "refund_rate"),
        *("average_order", "expected_value", "expected_order", "money_share", "m"),
    },
    "rating": {"rating", "rating_sum", "mean", "bayesian", "wilson", "deviation", "positive"},
    "consumer_id": {"consumer_id", "key"},
    "location.lat": {"lat"},
}


@pytest.mark.parametrize("field", list(KNOWN))
def test_a_mask_hides_every_field_that_is_derived_from_it(field: str) -> None:
    """The other way round: names that are known to be derived are declared so, wherever they occur."""
    for place, model in models():
        for path, declared in _fields(model):
            name = path.rpartition(".")[2].removesuffix("_minor")
            if name in KNOWN[field]:
                assert reveals([field], declared) or name == field, f"{place} {path}"


def test_an_answer_with_a_list_of_scores_is_refused_where_scores_are_masked() -> None:
    """The order of the list would tell which score is the higher. A person's own data are listed by their ids."""
    scored = {
        place: model for place, model in models() if _lists_scores(model) and not place.startswith("privacy ")
    }
    assert len(scored) >= 3
    assert [place for place, model in scored.items() if hidden_order(model, ["score"], {}) is None] == []


def _lists_scores(model: type[BaseModel]) -> bool:
    for field in model.model_fields.values():
        inner = _models(field.annotation, [])
        if inner is not None and ("score" in inner.model_fields or _lists_scores(inner)):
            return True
    return False


def _fields(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, tuple[str, ...]]]:
    for name, field in model.model_fields.items():
        here = f"{path}.{name}".removeprefix(".")
        found = [*field.metadata]
        inner = _models(field.annotation, found)
        if inner is not None:
            yield from _fields(inner, here)
        yield here, tuple(part for each in found if isinstance(each, DerivedFrom) for part in each.fields)


def _models(annotation: Any, found: list[Any]) -> type[BaseModel] | None:
    if get_origin(annotation) is Annotated:
        found.extend(get_args(annotation)[1:])
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (list, dict, Union, types.UnionType, Annotated):
        inner = [one for each in get_args(annotation) if (one := _models(each, found)) is not None]
        return inner[0] if inner else None
    return None


class Inner(BaseModel):
    net: Annotated[int, DerivedFrom("amount")]
    by_currency: Annotated[dict[str, int], DerivedFrom("amount", "currency")]
    lat: Annotated[float | None, DerivedFrom("location.lat")]
    count: Annotated[int, DerivedFrom()]


class Outer(BaseModel):
    items: list[Inner]
    kinds: dict[str, Inner]


VALUE = {"net": 731, "by_currency": {"EUR": 731}, "lat": 48.5, "count": 3}


@given(st.sets(st.sampled_from(["amount", "location", "location.lat", "location.*", "lat", "currency", "rating"])))
def test_what_is_derived_is_hidden_wherever_it_lies(masks: set[str]) -> None:
    shown = masked({"items": [VALUE], "kinds": {"view": VALUE}}, Outer, masks)
    money, place = "amount" in masks, bool(masks & {"location", "location.lat", "location.*", "lat"})
    for value in (shown["items"][0], shown["kinds"]["view"]):
        assert (value["net"] == MASK) == money
        assert (value["by_currency"] == MASK) == (money or "currency" in masks)
        assert (value["lat"] == MASK) == place
        assert value["count"] == 3
    assert ("731" in str(shown)) == (not money)


def test_null_hides_nothing_and_stays() -> None:
    assert masked({"items": [{**VALUE, "lat": None}]}, Outer, ["lat"])["items"][0]["lat"] is None


@pytest.mark.parametrize(
    ("mask", "field", "hit"),
    [
        ("amount", "amount", True),
        ("location.lat", "location.lat", True),
        ("lat", "location.lat", True),
        ("location", "location.lat", True),
        ("location.*", "location.lat", True),
        ("location.lat", "location", True),
        ("location.lon", "location.lat", False),
        ("traits.amount", "amount", False),
        ("personal.email", "personal", True),
        ("amounts", "amount", False),
        # A part may be masked by its own name, and a whole reveals its parts.
        ("city", "location", True),
        ("lat", "location", True),
        ("id", "event", True),
        ("email", "location", False),
    ],
)
def test_a_mask_covers_a_field_as_a_whole_or_in_part(mask: str, field: str, hit: bool) -> None:
    assert (reveals([mask], [field]) is not None) == hit


def test_names_that_a_mask_can_have() -> None:
    for path in ("amount", "personal.email", "personal.*", "traits.vip.level", "location.lat", "event.id", "key"):
        assert is_maskable(path), path
    for path in ("amout", "location.street", "rating.mean", "nothing", "event.time.day"):
        assert not is_maskable(path), path


class One(BaseModel):
    at: Annotated[str, DerivedFrom("time")]
    shared: Annotated[int, DerivedFrom()]


class Two(BaseModel):
    shared: Annotated[int, DerivedFrom("amount")]
    listed: Annotated[list[Inner], OrderedBy("rating")]


class Either(BaseModel):
    part: One | Two | None


def test_a_field_of_several_models_reveals_what_it_does_in_any() -> None:
    shown = masked({"part": {"at": "t", "shared": 1}}, Either, ["time", "amount"])
    assert shown["part"] == {"at": MASK, "shared": MASK}
    assert masked({"part": None}, Either, ["time"]) == {"part": None}


def test_an_order_counts_at_any_depth_unless_it_is_masked_with_what_is_around_it() -> None:
    class Deep(BaseModel):
        parts: dict[str, Either]

    class Whole(BaseModel):
        parts: Annotated[dict[str, Either], DerivedFrom("rating")]

    assert hidden_order(Deep, ["rating"], {}) == ("listed", "rating")
    assert hidden_order(Deep, ["amount"], {}) is None
    assert hidden_order(Whole, ["rating"], {}) is None


def test_an_affinity_is_alike_whatever_the_hidden_strengths() -> None:
    """What weighs nothing leads nowhere, and reasons are listed by strength."""
    pair = {"consumer_id": "c", "provider_id": "p", "sampled": False}
    via = [
        {"provider_id": p, "strength": s, "of": 7, "points": s, "relationship": p}
        for p, s in (("a", 2.0), ("b", 1.0))
    ]
    led = {"strength": 2.0, "score": 3.0, "rank": 1, "candidates": 4, "lack": None}
    other = {"strength": 0.0, "score": None, "rank": None, "candidates": 0, "lack": "weightless", "reason": "…"}
    because = {"term": "walk", "points": 3.0, "rest": 0, "rest_points": 0.0}
    for mask in ("strength", "kind", "time"):
        shown = [
            masked({**pair, **found}, Affinity, [mask])
            for found in (
                {**led, "reason": None, "because": [{**because, "via": via}]},
                {**led, "reason": None, "because": [{**because, "via": via[::-1]}]},
                {**other, "because": None},
            )
        ]
        assert shown[0] == shown[1] == shown[2], mask
        assert (shown[0]["lack"], shown[0]["candidates"], shown[0]["because"]) == (MASK, MASK, MASK)
    assert masked({**pair, **led}, Affinity, ["rating"]) == {**pair, **led}
