"""What the demo says of its application's webhooks: each kind of fault is found."""

import os
import time
from datetime import datetime, tzinfo
from typing import Any, Self

import httpx
import orjson
import pytest
import standardwebhooks

from services.demo.application import judged
from services.demo.receiver import Delivery, Place, Receiver, is_valid
from services.webhooks.messages.signing import new_secret, signatures
from tests.support.waiting import PATIENCE_SECONDS

NOW = 1_796_000_000
BODY = b'{"type":"webhook.test","data":{"text":"\xc3\xbc"}}'


def change(number: int, consumer: str = "ann") -> dict[str, Any]:
    origin = {"topic": "kith.relations", "partition": 0, "offset": number, "index": 0}
    data = {"consumer_id": consumer, "relation_id": "r", "before": None, "after": None, "origin": origin}
    return {
        "id": f"kith.relations/0/{number}",
        "type": "relation.changed",
        "time": "2026-11-29T10:00:00Z",
        "data": data,
    }


def log(*changes: dict[str, Any]) -> dict[Place, dict[str, Any]]:
    return {(0, each["data"]["origin"]["offset"], 0): each for each in changes}


def sent(each: dict[str, Any]) -> Delivery:
    return Delivery("msg_1", {"type": each["type"], "timestamp": each["time"], "data": each["data"]})


ONE, TWO, OTHER, GONE = change(1), change(2), change(3, "bob"), change(4, "eve")
EVERY = log(ONE, TWO, OTHER, GONE)


@pytest.mark.parametrize(
    ("received", "differences"),
    [
        ([ONE, TWO], []),
        ([ONE, TWO, ONE], []),
        ([ONE, TWO, GONE], []),
        ([ONE], ["kith.relations/0/2"]),
        ([TWO, ONE], ["ann, order"]),
        ([ONE, TWO, OTHER], ["msg_1"]),
        ([{**ONE, "data": {**ONE["data"], "relation_id": "x"}}, TWO], ["kith.relations/0/1"]),
    ],
)
def test_what_is_lost_changed_disordered_or_of_others_is_found(
    received: list[dict[str, Any]], differences: list[str]
) -> None:
    with Receiver() as receiver:
        receiver.received += map(sent, received)
        found = judged(EVERY, ["ann"], {"eve"}, receiver)
    assert [
        str(each).partition(":")[0].removeprefix("webhooks ") for each in found.findings.differences
    ] == differences
    assert found.owed == 2
    assert found.repeated == max(0, len(received) - 2) * (ONE in received[2:])


def test_a_delivery_without_a_valid_signature_is_refused_and_counted() -> None:
    secret, now = new_secret("hmac", os.urandom), int(time.time())
    with Receiver() as receiver:
        receiver.secret = secret
        body = orjson.dumps(sent(ONE).body)
        headers = {"webhook-id": "msg_1", "webhook-timestamp": str(now)}
        good = {**headers, "webhook-signature": f"v1a,x {signatures('msg_1', now, body, [secret])}"}
        statuses = [
            httpx.post(
                receiver.url, content=content, headers=sent_headers, trust_env=False, timeout=PATIENCE_SECONDS
            ).status_code
            for content, sent_headers in ((body, good), (body + b" ", good), (body, headers))
        ]
        assert statuses == [204, 401, 401]
        assert receiver.received == [sent(ONE)]
        assert judged({}, [], {"ann"}, receiver).findings.total == 1


class Still(datetime):
    """The clock of the library stands."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return cls.fromtimestamp(NOW, tz)


@pytest.mark.parametrize("stamp", [NOW, NOW - 300, NOW - 301, NOW + 300, NOW + 301, "soon", ""])
def test_the_receiver_judges_as_the_library_does(stamp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # Both ask a clock, and a second may begin in between.
    monkeypatch.setattr("standardwebhooks.webhooks.datetime", Still)
    monkeypatch.setattr("services.demo.receiver.time.time", lambda: NOW)
    secret = new_secret("hmac", os.urandom)
    for at in (NOW, stamp):
        signature = signatures("msg_1", at, BODY, [secret])
        headers = {"webhook-id": "msg_1", "webhook-timestamp": str(at), "webhook-signature": signature}
        try:
            standardwebhooks.Webhook(secret).verify(BODY, headers)
            expected = True
        except Exception:
            expected = False
        assert is_valid(secret, "msg_1", str(at), signature, BODY) is expected
    assert not is_valid("", "msg_1", str(NOW), signatures("msg_1", NOW, BODY, [secret]), BODY)
