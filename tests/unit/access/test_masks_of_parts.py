"""A mask of a part of an amount hides the amount of a fact, wherever it is shown: one rule for all."""

import json
from typing import Any

import pytest

from services.analytics.dashboard.message import lines_of
from services.exports.column_access import split
from services.exports.datasets import DATASETS
from services.privacy.answers import ExportedRelation
from services.relations.answers import Relation, RelationPage
from services.webhooks.fanout.subscription import matches
from services.webhooks.messages.body import body_of
from shared.access.masks import MASK, masked

MASKS = ("amount", "amount.*", "amount.EUR", "amount.EUR.more")
FACT: dict[str, Any] = {
    "relation_id": "r",
    "provider_id": "p",
    "kind": "purchase",
    "amount": 1250,
    "currency": "EUR",
}


@pytest.mark.parametrize("mask", MASKS)
def test_the_amount_of_a_fact_is_hidden_by_a_mask_of_its_part(mask: str) -> None:
    for answer in (
        masked(FACT, Relation, [mask]),
        masked(FACT, ExportedRelation, [mask]),
        masked({"items": [FACT]}, RelationPage, [mask])["items"][0],
    ):
        assert (answer["amount"], answer["currency"]) == (MASK, "EUR")


@pytest.mark.parametrize("mask", MASKS)
def test_a_webhook_neither_shows_nor_searches_it(mask: str) -> None:
    data = {"relation_id": "r", "before": None, "after": FACT}
    change = {"type": "relation.changed", "time": "2026-11-29T10:00:00Z", "data": data}
    body = body_of(change, [mask])
    assert body["data"]["after"]["amount"] == MASK
    endpoint = {"types": ["relation.changed"], "masks": [], "filter": "data.after.amount > `1000`"}
    assert matches(endpoint, change, body_of(change, []))
    assert not matches(endpoint, change, body)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("dataset", sorted(DATASETS))
def test_no_file_has_a_column_of_it(mask: str, dataset: str) -> None:
    columns, _ = split(DATASETS[dataset], True, [mask])
    assert not [column.name for column in columns if "amount" in (column.name, *(column.tells or ()))]


@pytest.mark.parametrize("mask", MASKS)
def test_a_letter_does_not_show_it(mask: str) -> None:
    lines = lines_of(json.dumps({"data": FACT}).encode(), None, [mask])
    assert "1250" not in "".join(line.text for line in lines)
