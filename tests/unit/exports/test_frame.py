"""Which tenant a frame is of, where it comes from the service."""

import urllib.request
from typing import Any

import pytest

from services.exports.frame import frame
from shared.contracts.errors import Unavailable


@pytest.mark.parametrize(
    ("asked", "sent"), [({}, None), ({"tenant": "acme"}, "acme"), ({"key": "kith_x", "tenant": "acme"}, "acme")]
)
def test_a_frame_is_of_the_keys_tenant_unless_one_is_named(
    asked: dict[str, Any], sent: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[urllib.request.Request] = []

    def closed(request: urllib.request.Request) -> None:
        requests.append(request)
        raise OSError("closed")

    monkeypatch.setattr(urllib.request, "urlopen", closed)
    with pytest.raises(Unavailable):
        frame("relations", url="http://kith", **asked)
    assert requests[0].get_header("Kith-tenant") == sent
