"""The validators of the collections, as MongoDB applies them and as the store in memory does: the same verdict."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pymongo.database import Database
from pymongo.errors import WriteError

from services.analytics.schema import COLLECTIONS as ANALYTICS
from services.privacy.schema import COLLECTIONS as PRIVACY
from services.relations.schema import COLLECTIONS as RELATIONS
from shared.contracts.collections import Collections
from shared.mongo.store import prepare
from shared.runtime.protocols import Document, Outcome, Progress, Slice, Write
from shared.testing.memory import InvalidDocument, MemoryStore
from shared.testing.validators import violations
from shared.vault.schema import COLLECTIONS as VAULT

_DOCUMENT_VALIDATION_FAILURE = 121
ALL: Collections = {**RELATIONS, **ANALYTICS, **PRIVACY, **VAULT}

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.sampled_from(["2026-01-01", "anonymise", "total", "EUR", "07", "eur"])
    | st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
    | st.binary(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["count", "EUR", "eur", "07", "name", "time", "source", "id"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)


def valid(schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """Values that fit ``schema`` as a rule: damage then shows where it is done."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kind = schema.get("bsonType", "object")
    kind = kind if isinstance(kind, str) else kind[0]
    if kind == "object":
        required = schema.get("required", ())
        properties = {name: valid(part) for name, part in schema.get("properties", {}).items()}
        return st.fixed_dictionaries(
            {name: each for name, each in properties.items() if name in required},
            optional={name: each for name, each in properties.items() if name not in required},
        )
    made: dict[str, Callable[[], st.SearchStrategy[Any]]] = {
        "string": lambda: st.just("2026-01-01") if "pattern" in schema else st.text("abc", max_size=3),
        "int": lambda: st.integers(schema.get("minimum", -(2**63)), schema.get("maximum", 2**63 - 1)),
        "date": lambda: st.just(datetime(2026, 1, 1, tzinfo=UTC)),
        "bool": st.booleans,
        "double": lambda: st.floats(allow_nan=False),
        "binData": lambda: st.binary(max_size=3),
        "array": lambda: st.lists(valid(schema.get("items", {"bsonType": "string"})), max_size=2),
        "null": st.none,
    }
    return made[kind]()


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, Document]:
    """A collection, and a document that fits it, or that is damaged in one place or several."""
    name = draw(st.sampled_from(sorted(ALL)))
    schema = ALL[name].validator
    document: Document = draw(valid(schema))
    for _ in range(draw(st.integers(0, 2))):
        # Not _id, of which MongoDB asks more than a validator says, and which is always a text that Kith makes.
        field = draw(st.sampled_from([*sorted(schema["properties"].keys() - {"_id"}), "colour"]))
        if draw(st.booleans()):
            document[field] = draw(values)
        else:
            document.pop(field, None)
    return name, document


@hypothesis_settings(
    max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(documents())
def test_memory_and_mongodb_refuse_the_same_documents(
    mongo_database: Database[Document], drawn: tuple[str, Document]
) -> None:
    name, document = drawn
    if name not in mongo_database.list_collection_names():
        prepare(mongo_database, {name: ALL[name]})
    collection = mongo_database[name]
    collection.delete_many({})
    try:
        collection.insert_one(dict(document))
        refused = False
    except WriteError as error:
        if error.code != _DOCUMENT_VALIDATION_FAILURE:
            raise
        refused = True
    assert bool(list(violations(ALL[name].validator, document))) == refused


def test_the_store_in_memory_stores_nothing_of_a_slice_with_an_invalid_document() -> None:
    store = MemoryStore(RELATIONS)
    claim, progress = store.claim("relations@1/kith.relations/0", "me")
    good = {"_id": "default:ada", "tenant": "default", "consumer_id": "ada", "mode": "delete"}
    writes = [
        Write("erased", "default:ada", None, good),
        Write("erased", "default:bob", None, {"_id": "default:bob"}),
    ]
    with pytest.raises(InvalidDocument, match=r"erased: \.tenant: missing"):
        store.commit(Slice(claim, progress, Progress(1), Outcome(writes)))
    assert store.collections["erased"] == {}
    assert store.positions["relations@1/kith.relations/0"].progress == progress


def test_a_keyword_that_is_not_known_is_an_error() -> None:
    with pytest.raises(NotImplementedError, match="maxLength"):
        list(violations({"maxLength": 3}, "abcd"))
