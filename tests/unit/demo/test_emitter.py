"""The emitter beside a door that refuses for now."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from services.demo.emitter import Emitter
from services.demo.market import Emission
from shared.contracts.errors import ConfigurationError


def emitted(statuses: Iterator[int]) -> tuple[Emitter, list[dict[str, Any]]]:
    """What was accepted of three events, of a door that answers with these statuses, then 202."""
    accepted: list[dict[str, Any]] = []
    events: list[Emission] = [Emission({"id": str(number), "data": {}}, None) for number in range(3)]
    emitter = Emitter("http://door", iter(events), accepted.append, batch=1, threads=1)

    def answer(request: httpx.Request) -> httpx.Response:
        if (status := next(statuses, 202)) != 202:
            return httpx.Response(status, json={"detail": "not now"}, headers={"Retry-After": "0"})
        return httpx.Response(202, json={"accepted": len(json.loads(request.content)), "rejected": []})

    emitter._client = httpx.Client(base_url="http://door", transport=httpx.MockTransport(answer))
    emitter.start()
    return emitter, accepted


def test_what_is_refused_for_now_is_sent_again() -> None:
    emitter, accepted = emitted(iter([429, 503, 202, 429]))
    emitter.finish()
    assert [each["id"] for each in accepted] == ["0", "1", "2"]
    assert (emitter.sent, emitter.accepted, emitter.retries) == (3, 3, 3)


def test_what_is_refused_for_ever_ends_it() -> None:
    emitter, _ = emitted(iter([403]))
    with pytest.raises(ConfigurationError, match="403"):
        emitter.finish()
