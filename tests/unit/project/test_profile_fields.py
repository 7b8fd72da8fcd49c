"""The fields of profiles: each place that names them names all of them. ``PARTS`` is the table that folds."""

import pytest
from pydantic import BaseModel

from services.exports import flatten
from services.exports.datasets import DATASETS
from services.relations import answers
from services.relations.registers import PARTS
from shared.access.lineage import SOURCES
from shared.contracts.events import EVENT_MODELS, EVENT_TYPES, ConsumerData, Id, ProviderData
from shared.contracts.spelling import NAMES_IN_DATA
from tests.support.builders import event, stored_state

MODELS: dict[str, type[BaseModel]] = {"consumers": answers.Consumer, "providers": answers.Provider}
STATED: dict[str, type[BaseModel]] = {"consumers": ConsumerData, "providers": ProviderData}
each_side = pytest.mark.parametrize("side", PARTS)


@each_side
def test_every_field_of_an_event_is_a_register(side: str) -> None:
    """One that is not would be dropped without a word."""
    stated = set(STATED[side].model_fields) - {f"{side[:-1]}_id"}
    assert stated <= set(PARTS[side]), "services/relations/registers.py: PARTS"


@each_side
def test_every_register_is_shown(side: str) -> None:
    assert set(PARTS[side]) <= set(MODELS[side].model_fields), "services/relations/answers.py"


@each_side
def test_every_register_can_be_masked(side: str) -> None:
    assert set(PARTS[side]) <= SOURCES, "shared/access/lineage.py: SOURCES"


@each_side
def test_every_register_is_exported(side: str) -> None:
    dataset = DATASETS[side]
    read = {field.partition(".")[0] for field in (*dataset.fields, *dataset.personal_fields)}
    assert set(PARTS[side]) <= read, f"services/exports/datasets.py: the fields of {side}"


@each_side
def test_a_row_has_the_columns_of_its_dataset(side: str) -> None:
    kind = f"{side[:-1]}.upserted"
    stored = stored_state([event(kind, "e1", "2026-01-01T00:00:00Z", {f"{side[:-1]}_id": "x"})])
    [document] = stored[side].values()
    row = getattr(flatten, side[:-1])(document)
    columns = {column.name for column in DATASETS[side].columns}
    assert set(row) >= columns, f"services/exports/flatten.py: {side[:-1]}"


@pytest.mark.parametrize("type", EVENT_TYPES)
def test_every_id_is_compared_in_nfc(type: str) -> None:
    """A field of the type Id is normalised wherever it stands."""
    data = EVENT_MODELS[EVENT_TYPES.index(type)].model_fields["data"].annotation
    assert data is not None
    # Optional or not, an Id bears the constraints of an Id.
    [constraints] = [each for each in Id.__metadata__ if hasattr(each, "max_length")]  # type: ignore[attr-defined]
    ids = {
        name
        for name, field in data.model_fields.items()
        if constraints in field.metadata or str(constraints) in str(field.annotation)
    }
    assert ids <= set(NAMES_IN_DATA), "shared/contracts/spelling.py: NAMES_IN_DATA"
