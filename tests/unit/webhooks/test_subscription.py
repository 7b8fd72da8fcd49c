"""What an endpoint gets, and in which form."""

import tracemalloc
from typing import Any

import jmespath
import jmespath.exceptions
import orjson
import pytest

from services.webhooks.fanout.expressions import BadExpression, check, evaluate
from services.webhooks.fanout.subscription import matches
from services.webhooks.messages.body import MOST_BYTES, body_of, encoded

CHANGE: dict[str, Any] = {
    "id": "kith.relations/0/1",
    "type": "relation.changed",
    "time": "2026-11-29T10:00:00Z",
    "tenant": "default",
    "data": {
        "relation_id": "r1",
        "consumer_id": "ada",
        "before": {"provider_id": "old", "kind": "view", "time": "2026-11-29T09:00:00Z"},
        "after": {
            "provider_id": "cafe",
            "kind": "purchase",
            "time": "2026-11-29T10:00:00Z",
            "amount": 1250,
            "currency": "EUR",
        },
        "cause": {"source": "/shop", "id": "e1"},
        "origin": {"topic": "kith.relations", "partition": 0, "offset": 1, "index": 0},
    },
}


def wanted(masks: list[str] | None = None, **stated: Any) -> bool:
    endpoint = {"types": ["relation.changed"], "masks": masks or [], **stated}
    return matches(endpoint, CHANGE, body_of(CHANGE, endpoint["masks"]))


@pytest.mark.parametrize(
    ("stated", "sent"),
    [
        ({}, True),
        ({"types": ["consumer.changed"]}, False),
        # Before or after: a change away from a kind concerns who follows that kind.
        ({"kinds": ["view"]}, True),
        ({"kinds": ["purchase", "review"]}, True),
        ({"kinds": ["review"]}, False),
        ({"providers": ["old"]}, True),
        ({"providers": ["cafe"]}, True),
        ({"providers": ["other"]}, False),
        ({"filter": "data.after.amount > `1000`"}, True),
        ({"filter": "data.after.amount > `2000`"}, False),
        ({"filter": "length(data.nothing) > `0`"}, False),
    ],
)
def test_a_change_is_sent_if_all_that_is_stated_fits(stated: dict[str, Any], sent: bool) -> None:
    assert wanted(**stated) is sent


def test_a_filter_learns_nothing_of_what_is_masked() -> None:
    # Half the possible amounts each time: a search that needs no look at a body.
    answers = {wanted(["amount"], filter=f"data.after.amount > `{least}`") for least in (0, 1000, 2000)}
    assert answers == {False}
    assert not wanted(["consumer_id"], filter="data.consumer_id == 'ada'")


@pytest.mark.parametrize(
    ("mask", "stated", "sent"),
    [
        ("kind", {"kinds": ["purchase"]}, False),
        ("provider_id", {"providers": ["cafe"]}, False),
        ("categories", {"categories": ["bar"]}, False),
        ("provider_id", {"categories": ["bar"]}, False),
        ("consent.mail", {"purpose": "mail"}, False),
        ("consent", {"purpose": "app_7", "bound": True}, True),
        ("amount", {"kinds": ["purchase"], "providers": ["cafe"]}, True),
        ("kind", {"providers": ["cafe"]}, True),
    ],
)
def test_a_mask_that_came_later_ends_the_choice_by_what_it_hides(
    mask: str, stated: dict[str, Any], sent: bool
) -> None:
    assert wanted(**stated)
    assert wanted([mask], **stated) is sent


def test_masks_hold_in_bodies() -> None:
    body = body_of(CHANGE, ["amount", "event.id"])
    text = orjson.dumps(body)
    assert b"1250" not in text
    assert b'"e1"' not in text
    assert "amount" in body["masked"]
    assert body["data"]["after"]["currency"] == "EUR"


def test_of_an_erased_consumer_only_ids_are_left() -> None:
    data = body_of(CHANGE, [], erased=True)["data"]
    assert data == {
        "relation_id": "r1",
        "consumer_id": "ada",
        "origin": CHANGE["data"]["origin"],
        "erased": True,
    }


def test_a_template_makes_the_body() -> None:
    body = body_of(CHANGE, [])
    assert encoded(body, "{text: join(' ', [type, data.relation_id])}") == b'{"text":"relation.changed r1"}'
    with pytest.raises(BadExpression, match="fails"):
        encoded(body, "join(',', data.after.amount)")
    with pytest.raises(ValueError, match="bytes"):
        encoded({**body, "type": "x" * MOST_BYTES}, None)


@pytest.mark.parametrize(
    "template",
    ["&x", "{a: [&x]}", '`"\\ud800"`', '{"\\ud800": @}', "`" + "9" * 900 + "`", " | ".join(["[@]"] * 160)],
)
def test_a_template_that_makes_no_json_fails_as_other_templates_do(template: str) -> None:
    # Anything else would be tried again for ever.
    check(template)
    with pytest.raises(BadExpression, match=r"fails|JSON"):
        encoded(body_of(CHANGE, []), template)


@pytest.mark.parametrize("text", ["a.", "foo(", "unknown(@)", "(" * 900, "x" * 1001, "a[?b=='c'"])
def test_what_is_no_expression_is_refused(text: str) -> None:
    if text == "unknown(@)":
        # JMESPath knows its functions only when it calls them.
        assert not wanted(filter=text)
        return
    with pytest.raises(BadExpression):
        check(text)


@pytest.mark.parametrize(
    "expression",
    [
        " | ".join(["[@,@]"] * 100),
        " | ".join(["[@,@] | []"] * 60),
        "length(to_string(" + " | ".join(["[@,@]"] * 60) + "))",
        " | ".join(["{a: @, b: @}"] * 60),
        "@" + " | [@, @][]" * 70,
        # Texts that grow.
        "'ab'" + " | join('', [@,@])" * 50,
        "[to_string(@)]" + " | [to_string(@)]" * 55,
        # Long glue between much that is empty: 80 kB, 512 times.
        "{x: 'abcdefghij', l: ['']}"
        + " | {x: join('',[x,x]), l: [l,l][]}" * 9
        + " | {x: join('',[x,x]), l: l}" * 4
        + " | join(x, l)",
        # Small references to what is large: names of members, numbers of many digits.
        "{" + "k" * 800 + ": a}" + " | [@,@]" * 10 + " | to_string(@)",
        f"to_number('{'9' * 800}')" + " | [@,@][]" * 11 + " | to_string(@)",
    ],
)
def test_an_expression_that_grows_without_end_fails(expression: str) -> None:
    check(expression)
    tracemalloc.start()
    with pytest.raises(BadExpression, match=r"steps|makes a text of more than 200,000 characters"):
        evaluate(expression, {"data": [1, 2, 3]})
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 5_000_000


def test_texts_of_the_size_of_a_body_are_made() -> None:
    long = ["x" * 1_000] * 100
    assert len(evaluate("join(',', @)", long)) == 100_099
    assert len(evaluate("to_string(@)", long)) == 100_301
    with pytest.raises(BadExpression, match=r"takes more than|makes a text"):
        evaluate("join(',', @)", long * 2)
    assert evaluate("[join(' ', ['a', 'b']), to_string({a: `1`}), to_string(`true`), join('', `[]`)]", {}) == [
        *("a b", '{"a":1}', "true", ""),
    ]


@pytest.mark.parametrize(
    "expression", ["join(@, 'a')", "join('a', [`1`])", "to_string()", "join('a')", "to_string(&a)"]
)
def test_a_function_of_the_wrong_values_fails_or_not_as_in_the_library(expression: str) -> None:
    try:
        of_the_library = jmespath.search(expression, {"a": 1})
    except jmespath.exceptions.JMESPathError:
        with pytest.raises(BadExpression):
            evaluate(expression, {"a": 1})
    else:
        assert isinstance(of_the_library, str)
        assert isinstance(evaluate(expression, {"a": 1}), str)


def test_a_literal_in_the_old_way_of_writing_is_an_expression() -> None:
    assert evaluate("kind == `view`", {"kind": "view"}) is True
