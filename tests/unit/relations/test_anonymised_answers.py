"""What a pseudonym's facts say of the events behind them: nothing that leads back."""

from datetime import UTC, datetime
from typing import Any

from services.privacy.people import _fact
from services.relations import answers
from shared.erasure.records import ANONYMISED, cause_of, hashed

FACT: dict[str, Any] = {
    "_id": "default:ada:r1",
    "tenant": "default",
    "consumer_id": "ada",
    "relation_id": "r1",
    "provider_id": "cafe",
    "kind": "view",
    "time": datetime(2026, 1, 1, tzinfo=UTC),
    "retracted": False,
    "version": {"time": 1, "source": "shop", "id": "secret"},
}
OF_PSEUDONYM = {**FACT, "consumer_id": hashed("default", "ada"), "relation_id": hashed("default", "r1")}


def test_the_event_of_a_fact_is_named_and_that_of_a_pseudonym_is_not() -> None:
    assert cause_of(FACT) == {"source": "shop", "id": "secret"}
    assert cause_of(OF_PSEUDONYM) == ANONYMISED
    # An upstream's own consumer may look like a pseudonym; a relation of theirs does not.
    assert cause_of({**FACT, "consumer_id": hashed("default", "ada")})["id"] == "secret"


def test_no_answer_names_it() -> None:
    for shown in (answers.relation(OF_PSEUDONYM), _fact(OF_PSEUDONYM)):
        assert "secret" not in str(shown)
        assert shown["event"] == ANONYMISED
    for shown in (answers.relation(FACT), _fact(FACT)):
        assert shown["event"] == {"source": "shop", "id": "secret"}
