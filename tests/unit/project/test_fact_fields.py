"""The table of a fact's fields and what cannot follow from it: each place that names fields names all of them."""

import re

import pytest
from hypothesis import find

from services.demo import oracle
from services.exports.datasets import DATASETS
from services.postgres.projection import TABLES as POSTGRES
from services.postgres.schema import MIGRATIONS, TYPES
from services.privacy.answers import ExportedRelation
from services.relations.answers import Relation
from shared.cassandra.tables import FACTS
from shared.cassandra.tables import TABLES as CASSANDRA
from shared.contracts.changes import Fact
from shared.contracts.events import RelationData, RelationRecorded
from shared.contracts.fact_fields import FACT_FIELDS, PERSONAL, PUBLISHED, STATED
from shared.vault.fields import values
from tests.support.builders import recorded
from tests.support.strategies import relation_events

#: What names a fact, and what an event says of it in another form than the document.
NAMES = {"relation_id", "consumer_id"}
OTHERWISE = {"provider_id", "kind", "occurred_at"}


def test_a_fact_takes_every_field_of_its_event() -> None:
    fields = set(RelationData.model_fields)
    assert fields - NAMES - OTHERWISE == set(STATED), "shared/contracts/fact_fields.py: FACT_FIELDS"


def test_a_change_contains_every_field_that_is_published() -> None:
    assert set(Fact.model_fields) == set(PUBLISHED), "shared/contracts/changes.py: Fact"


def test_an_answer_contains_every_field_that_is_shown() -> None:
    shown = {field.name for field in FACT_FIELDS if field.shown}
    assert set(Relation.model_fields) == {*NAMES, "event", *shown}, "services/relations/answers.py: Relation"


def test_a_person_is_given_every_field_that_is_shown() -> None:
    assert set(ExportedRelation.model_fields) == set(Relation.model_fields), "services/privacy/answers.py"


def test_an_export_has_a_column_for_every_field_that_has_one() -> None:
    columns = {column.name: column for column in DATASETS["relations"].columns}
    for field in FACT_FIELDS:
        if field.column is not None:
            assert (columns[field.name].type, columns[field.name].personal) == (field.column, field.personal)


def columns_in_postgres(table: str) -> dict[str, str]:
    """Column → type of a table, after all migrations."""
    created = re.compile(rf"CREATE TABLE {{schema}}\.{table} \((.*?)\n\);", re.DOTALL)
    added = re.compile(rf"ALTER TABLE {{schema}}\.{table} ADD COLUMN ([^;]*);")
    lines = [line for body in created.findall("".join(MIGRATIONS)) for line in body.strip().splitlines()]
    found = [line.split() for line in (*lines, *added.findall("".join(MIGRATIONS)))]
    return {
        words[0]: " ".join(words[1:]).split(" NOT NULL")[0].rstrip(",") for words in found if words[0].islower()
    }


def test_postgres_has_a_column_for_every_field_that_is_published() -> None:
    columns = columns_in_postgres("relations")
    wanted = {*POSTGRES["relations"].key, *PUBLISHED}
    assert set(columns) == wanted, "services/postgres/schema.py: MIGRATIONS, by a new one"
    assert columns == {name: TYPES.get(name, "text") for name in wanted}, "services/postgres/schema.py: TYPES"


def test_cassandra_has_a_column_for_every_field_that_is_published() -> None:
    wanted = {"tenant", *NAMES, *PUBLISHED, "event_source", "event_id"}
    assert set(CASSANDRA[FACTS].columns) == wanted, "shared/cassandra/tables.py: TABLES"


def test_those_who_judge_know_every_field() -> None:
    """They share no code with the services, so they have lists of their own."""
    assert set(oracle.FACT_FIELDS) == set(STATED), "services/demo/oracle.py: FACT_FIELDS"
    assert set(oracle.PUBLISHED) == set(PUBLISHED), "services/demo/oracle.py: PUBLISHED"


@pytest.mark.parametrize("name", sorted(set(STATED) & set(PERSONAL)))
def test_what_is_personal_is_sealed(name: str) -> None:
    event = recorded("e1", "2026-03-01T00:00:00Z", **{name: "a word"})
    assert (name, "a word") in list(values(event)), "shared/vault/fields.py: values"


@pytest.mark.parametrize("name", sorted(RelationData.model_fields.keys() - NAMES))
def test_histories_draw_every_field(name: str) -> None:
    """tests/support/strategies.py: relation_events. Else the laws say nothing about it."""
    found = find(
        relation_events(), lambda e: isinstance(e, RelationRecorded) and getattr(e.data, name) is not None
    )
    assert isinstance(found, RelationRecorded)
