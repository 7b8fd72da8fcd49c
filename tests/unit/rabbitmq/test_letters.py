"""Dead letters of messages that never reached Kafka."""

from services.rabbitmq.judging import Bad
from services.rabbitmq.letters import letters_of, record_of
from services.rabbitmq.protocols import Properties
from services.rabbitmq.schema import COLLECTIONS
from shared.contracts.errors import InvalidEvent
from shared.contracts.topics import Topics
from shared.letters.fate import fate
from shared.letters.letter import replayable
from shared.testing.validators import violations
from shared.vault.dead_letters import MARK, sealed_for
from tests.support.vault import memory_vault

BODY = b'{"specversion":"1.0","id":"e1","type":"relation.recorded","tenant":"other","data":{"consumer_id":"c1"}}'
ERROR = InvalidEvent("wrong_tenant", "is not the tenant of the queue", "tenant")
PROPERTIES = Properties("application/json", None, "m1", None, None, {"ce-n": 7, "raw": b"\xff"})


def bad(body: bytes = BODY) -> Bad:
    return Bad(body, PROPERTIES, ERROR)


def test_a_redelivery_is_the_same_letter_and_another_message_is_another() -> None:
    first, again = record_of("orders", bad(), 1), record_of("orders", bad(), 2)
    assert (first.partition, first.offset) == (again.partition, again.offset)
    others = (
        record_of("orders", bad(BODY + b" "), 1),
        record_of("orders", Bad(BODY, Properties(message_id="m2"), ERROR), 1),
        record_of("returns", bad(), 1),
    )
    assert len({(each.partition, each.offset) for each in (first, *others)}) == 4


def test_a_letter_has_the_message_the_reason_and_the_tenant_of_the_queue() -> None:
    outcome = letters_of("orders", "acme", [bad()], 5, "kith.dead-letters", None)
    [write] = outcome.writes
    assert write.after is not None
    assert write.after["tenant"] == "acme"
    assert (write.after["reason"], write.after["field"], write.after["topic"]) == (
        "wrong_tenant",
        "tenant",
        "rabbitmq/orders",
    )
    assert write.after["value"] == BODY
    assert {"name": "message-id", "value": b"m1"} in write.after["headers"]
    [spec] = COLLECTIONS.values()
    assert not list(violations(spec.validator, {"_id": write.id, **write.after}))
    [message] = outcome.messages
    assert (message.topic, message.value) == ("kith.dead-letters", BODY)


def test_where_events_state_their_tenant_so_does_the_letter() -> None:
    [write] = letters_of("orders", "*", [bad()], 5, "kith.dead-letters", None).writes
    assert write.after is not None
    assert write.after["tenant"] == "other"


def test_it_is_sealed_under_a_key_of_the_tenant_of_the_queue() -> None:
    for tenant, owner in (("acme", ("acme", "")), ("*", ("other", "c1")), ("other", ("other", "c1"))):
        [write] = letters_of("orders", tenant, [bad()], 5, "kith.dead-letters", memory_vault()).writes
        assert write.after is not None
        assert write.after["value"].startswith(MARK)
        headers = tuple((each["name"], each["value"]) for each in write.after["headers"])
        assert sealed_for(write.after["value"], headers) == owner


def test_it_is_not_replayed_as_it_is_and_says_what_to_do() -> None:
    [write] = letters_of("orders", "acme", [bad()], 5, "kith.dead-letters", None).writes
    assert write.after is not None
    letter = {"_id": write.id, **write.after}
    assert not replayable(letter, Topics())
    told = fate(letter, False, Topics())
    assert "never reached Kafka" in told.because
    assert f"replay {write.id} --value" in told.because
