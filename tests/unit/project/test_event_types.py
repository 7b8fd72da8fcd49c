"""Each event type is known wherever types are listed or folded; the message of a failure names the place."""

from typing import Any

import pytest
from hypothesis import find

from services.demo.oracle import Oracle
from services.importer import as_of
from services.importer.targets import data_model
from shared.contracts.asyncapi import event_examples
from shared.contracts.codec import decode_fields
from shared.contracts.events import EVENT_MODELS, EVENT_TYPES
from tests.support import strategies
from tests.support.builders import MemoryKith
from tests.support.paths import EXAMPLES, ROOT

each_type = pytest.mark.parametrize(("type", "model"), list(zip(EVENT_TYPES, EVENT_MODELS, strict=True)))


def example_of(model: Any) -> dict[str, Any]:
    return event_examples()[model.__name__]


@each_type
def test_it_has_an_example_in_the_document_of_the_topics(type: str, model: Any) -> None:
    assert model.__name__ in event_examples(), f"shared/contracts/asyncapi.py: _EVENTS lacks {type}"


@each_type
def test_it_has_an_example_that_decodes_for_ever(type: str, model: Any) -> None:
    del model
    assert list(EXAMPLES.glob(f"{type}.v*.json")), f"tests/examples: {type}.v1.json"


@each_type
def test_histories_draw_it(type: str, model: Any) -> None:
    """tests/support/strategies.py: events. Else the laws say nothing about it."""
    del model
    assert find(strategies.events(), lambda event: event.type == type).type == type


@each_type
def test_the_oracle_folds_it(type: str, model: Any) -> None:
    """services/demo/oracle.py: Oracle.add raises ValueError for a type that it does not know."""
    del type
    oracle = Oracle()
    oracle.add(example_of(model))
    oracle.expected()


@each_type
def test_relations_fold_it(type: str, model: Any) -> None:
    """services/relations: a type without a fold would stop a worker, or become a dead letter."""
    kith = MemoryKith()
    kith.publish([decode_fields(example_of(model))])
    kith.drain()
    assert kith.documents()["dead_letters"] == {}, type


@each_type
def test_rows_can_be_imported_as_it(type: str, model: Any) -> None:
    assert data_model(type) is model.model_fields["data"].annotation


@each_type
def test_the_importer_knows_what_it_undoes(type: str, model: Any) -> None:
    """What takes another event back is not older than what it takes back, in one import."""
    del model
    takes_back = type.rpartition(".")[2] not in ("upserted", "recorded")
    assert (type in as_of._UNDOES) == takes_back, "services/importer/as_of.py: _UNDOES"


@each_type
def test_the_first_pages_name_it(type: str, model: Any) -> None:
    del model
    assert f"`{type}`" in (ROOT / "docs/start/second-terminal.md").read_text(), "docs/start/second-terminal.md"
