"""Signatures, verified by libraries that are not ours."""

import json
import os
import time

import pytest
import standardwebhooks
import svix
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import WebhookVerificationError

from services.webhooks.messages.signing import algorithm_of, message_id, new_secret, public_key, signatures

BODY = json.dumps({"type": "relation.changed", "data": {"text": "ö"}}).encode()


def headers(secrets: list[str], timestamp: int | None = None, body: bytes = BODY) -> dict[str, str]:
    id, at = message_id("kith.relations/2/0"), int(time.time()) if timestamp is None else timestamp
    return {
        "webhook-id": id,
        "webhook-timestamp": str(at),
        "webhook-signature": signatures(id, at, body, secrets),
    }


def test_libraries_verify_a_signature() -> None:
    secret = new_secret("hmac", os.urandom)
    assert standardwebhooks.Webhook(secret).verify(BODY, headers([secret])) == json.loads(BODY)
    svix.Webhook(secret).verify(BODY, headers([secret]))  # raises otherwise


def test_while_a_secret_is_rotated_both_verify() -> None:
    former, present = new_secret("hmac", os.urandom), new_secret("hmac", os.urandom)
    other = new_secret("ed25519", os.urandom)
    for secret in (former, present):
        assert standardwebhooks.Webhook(secret).verify(BODY, headers([other, present, former]))


@pytest.mark.parametrize("change", ["body", "id", "time", "old"])
def test_what_was_changed_or_is_old_does_not_verify(change: str) -> None:
    secret = new_secret("hmac", os.urandom)
    sent = headers([secret], int(time.time()) - (301 if change == "old" else 0))
    body = BODY + b" " if change == "body" else BODY
    if change == "id":
        sent["webhook-id"] += "x"
    if change == "time":
        sent["webhook-timestamp"] = str(int(sent["webhook-timestamp"]) + 1)
    with pytest.raises(WebhookVerificationError):
        standardwebhooks.Webhook(secret).verify(body, sent)


def test_an_asymmetric_signature_verifies_with_the_public_key() -> None:
    import base64

    secret = new_secret("ed25519", os.urandom)
    assert algorithm_of(secret) == "ed25519"
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key(secret).removeprefix("whpk_")))
    sent = headers([secret])
    version, _, signature = sent["webhook-signature"].partition(",")
    assert version == "v1a"
    key.verify(base64.b64decode(signature), f"{sent['webhook-id']}.{sent['webhook-timestamp']}.".encode() + BODY)


@given(st.text(max_size=80))
def test_an_id_has_no_character_that_separates(change: str) -> None:
    id = message_id(change)
    assert id == message_id(change)
    assert id.removeprefix("msg_").isalnum()


@pytest.mark.parametrize("text", ["", "secret", "whsec_", "whsec_!!!", "whsec_YWJj", "whsk_YWJj"])
def test_what_is_no_secret_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="secret"):
        algorithm_of(text)


def test_the_clock_of_the_signature_is_the_attempts() -> None:
    # A receiver refuses a signature that is five minutes old, and the last attempt is days after the change.
    earliest = int(time.time())
    assert earliest <= int(headers([new_secret("hmac", os.urandom)])["webhook-timestamp"]) <= int(time.time())
