"""Masks: hidden values are said to be hidden, and nothing else changes."""

import copy
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from shared.access.lineage import _PARTS, ContainedIn, DerivedFrom, is_maskable
from shared.access.masks import MASK, hides, is_path, masked, presented, with_masks
from shared.http.caller import Caller

MAY = Caller("acme", frozenset({"personal:read"}))
MAY_NOT = Caller("acme", frozenset({"consumers:read"}))
PERSONAL = ("personal.*", "location.city", "location.lat")
ANN: dict[str, Any] = {
    "consumer_id": "ann",
    "personal": {"name": "Ann", "email": "a@b.c"},
    "location": {"country": "FR", "city": "Lyon"},
    "traits": {"city": "not personal"},
}


def test_without_the_right_personal_fields_are_masked_and_named() -> None:
    before = copy.deepcopy(ANN)
    shown, fields = presented(ANN, PERSONAL, MAY_NOT)
    assert shown == {
        "consumer_id": "ann",
        "personal": {"name": MASK, "email": MASK},
        "location": {"country": "FR", "city": MASK},
        "traits": {"city": "not personal"},
        "masked": ["location.city", "personal.email", "personal.name"],
    }
    assert fields == []
    assert before == ANN


def test_with_the_right_they_are_shown_and_told() -> None:
    shown, fields = presented(ANN, PERSONAL, MAY)
    assert shown == ANN
    assert fields == ["location.city", "personal.email", "personal.name"]


def test_where_there_is_nothing_personal_nothing_is_said() -> None:
    plain = {"consumer_id": "ann", "erased": "delete"}
    assert presented(plain, PERSONAL, MAY_NOT) == (plain, [])
    assert presented(plain, PERSONAL, MAY) == (plain, [])


def test_the_records_of_a_page_are_masked_one_by_one() -> None:
    page = {"items": [{"text": "a"}, {"kind": "view"}, {"text": "b", "traits": {"text": "c"}}], "next": None}
    shown, _ = presented(page, ("text",), MAY_NOT)
    assert shown["items"] == [{"text": MASK}, {"kind": "view"}, {"text": MASK, "traits": {"text": "c"}}]
    assert (shown["next"], shown["masked"]) == (None, ["text"])


def test_a_keys_own_masks_hide_at_any_depth() -> None:
    answer = {"items": [{"amount": {"EUR": 5}, "kinds": {"view": {"amount": 3, "count": 2}}}], "amount": None}
    shown = with_masks(answer, ["amount"])
    assert shown == {
        "items": [{"amount": MASK, "kinds": {"view": {"amount": MASK, "count": 2}}}],
        "amount": None,
        "masked": ["amount"],
    }


def test_masks_add_to_what_is_masked_already() -> None:
    shown = with_masks({"personal": {"name": MASK}, "rating": 4, "masked": ["personal.name"]}, ["rating", "none"])
    assert shown == {"personal": {"name": MASK}, "rating": MASK, "masked": ["personal.name", "rating"]}


def test_whether_a_field_is_hidden() -> None:
    for path in ("personal", "personal.*", "personal.email", "personal.email.x", "email"):
        assert hides([path], "personal.email")
    for path in ("personal.name", "location", "mail"):
        assert not hides([path], "personal.email")
    assert not hides([], "personal.email")


class Page(BaseModel):
    items: list[dict[str, Any]]
    next: Annotated[str | None, ContainedIn("time", "consumer_id", "relation_id")]


@pytest.mark.parametrize(
    ("mask", "hidden"),
    [("consumer_id", True), ("relation_id", True), ("time", True), ("amount", False), ("personal.*", False)],
)
def test_a_cursor_tells_nothing_of_what_is_masked(mask: str, hidden: bool) -> None:
    """It is no secret: it says after which item the next page begins."""
    item = {"consumer_id": "ada", "relation_id": "r1", "time": "2026-11-01T00:00:00Z", "amount": 5}
    page = {"items": [item], "next": "WzE3ODg1NDQ4MDAwMDAsImRlZmF1bHQ6YWRhOnIxIl0"}
    shown = masked(page, Page, [mask])
    if hidden:
        assert (shown["next"], shown["masked"]) == (MASK, [mask, "next"] if mask < "next" else ["next", mask])
    else:
        assert shown["next"] == page["next"]
    last = masked({**page, "next": None}, Page, [mask])
    assert (last["next"], "next" in last.get("masked", ())) == (None, False)
    # A page that leaves out all of its items contains no masked field, and its cursor still does.
    empty = masked({**page, "items": []}, Page, [mask])
    assert (empty["next"] == MASK) == hidden


class Mean(BaseModel):
    mean: Annotated[float | None, DerivedFrom("amount")]
    amount: int | None


def test_a_value_that_is_null_because_of_what_is_masked_is_masked_too() -> None:
    assert masked({"mean": None, "amount": None}, Mean, ["amount"]) == {
        "mean": MASK,
        "amount": None,
        "masked": ["mean"],
    }
    assert masked({"mean": None, "amount": None}, Mean, ["rating"]) == {"mean": None, "amount": None}


def test_what_a_path_is() -> None:
    assert all(map(is_path, ["amount", "personal.email", "personal.*", "a-b.c_d"]))
    assert not any(map(is_path, ["", "*", "a..b", ".a", "a.", "a b", "é", "a.**", "$x", "a\n"]))


NAMES = st.sampled_from(["a", "b", "c"])
SECRET = "geheim"
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.just(SECRET)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=20,
)


def values_at(value: Any, parts: list[str]) -> list[Any]:
    """Every value at a path that begins anywhere: written anew, the long way round."""
    found: list[Any] = []

    def down(here: Any, rest: list[str]) -> None:
        if isinstance(here, list):
            for item in here:
                down(item, rest)
        elif not rest:
            found.append(here)
        elif isinstance(here, dict):
            for name, item in here.items():
                if rest[0] in ("*", name):
                    step(item, rest[1:])

    def step(item: Any, rest: list[str]) -> None:
        if rest:
            down(item, rest)
        else:
            found.append(item)

    def everywhere(here: Any) -> None:
        if isinstance(here, list):
            for item in here:
                everywhere(item)
        elif isinstance(here, dict):
            down(here, parts)
            for item in here.values():
                everywhere(item)

    everywhere(value)
    return found


@given(
    st.dictionaries(NAMES, JSON, max_size=3), st.lists(st.sampled_from(["a", "a.b", "b.*", "a.b.c"]), max_size=3)
)
def test_nothing_shows_at_a_masked_path(answer: dict[str, Any], paths: list[str]) -> None:
    shown = with_masks(answer, paths)
    named = shown.pop("masked", [])
    for path in paths:
        assert all(value in (None, MASK) for value in values_at(shown, path.split(".")))
    if not named:
        assert shown == answer


@pytest.mark.parametrize("name", sorted(_PARTS))
@pytest.mark.parametrize("part", ["*", "EUR", "city"])
def test_a_mask_of_a_part_hides_a_value_that_has_no_parts(name: str, part: str) -> None:
    mask = f"{name}.{part}"
    if not is_maskable(mask):
        return
    for path in (mask, f"{mask}.more"):
        shown = with_masks(
            {"items": [{name: 1250}, {name: [1250]}, {name: None}], "other": {name: "1250"}}, [path]
        )
        assert shown["items"] == [{name: MASK}, {name: [MASK]}, {name: None}]
        assert (shown["other"], shown["masked"]) == ({name: MASK}, [name])
    assert presented({name: 1250}, [mask], MAY_NOT) == ({name: MASK, "masked": [name]}, [])
