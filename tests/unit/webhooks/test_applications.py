"""Endpoints of applications are held to what the application may have at present."""

from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest

from services.apps.registry import Registered
from services.webhooks.applications import Unreadable, application_of, must_wait, served
from services.webhooks.messages.rendering import Known, Opened, Renderer
from services.webhooks.receipts.assignment import DISABLED, HIDDEN, NO_ENDPOINT, told_at
from shared.access.apps.model import App
from shared.access.apps.store import UnreadableApp
from shared.contracts.events import document_id
from tests.support.apps import Platform
from tests.support.deliveries import delivery, secret

Change = Callable[[Platform, Registered], object]
CHANGE = {"change": {"data": {"consumer_id": "ada"}}}
RECEIPT = {**CHANGE, "receipt": "acme:consumer.erased/1"}


def endpoint(by: str, *types: str, tenant: str = "acme", **more: Any) -> dict[str, Any]:
    named = {"_id": f"{tenant}:{by}", "tenant": tenant, "created_by": by}
    return {**named, "types": [*types, "webhook.disabled"], "masks": [], **more}


def test_an_approved_application_gets_what_it_may_read_and_keys_are_not_asked_about() -> None:
    platform = Platform()
    app = platform.approved("webhooks:manage", "relations:read").app
    own, keys = endpoint(app.id, "relation.changed"), endpoint("dev12345", "consumer.changed")
    assert served([own, keys], platform.store.find) == [
        {**own, "pace": "50/second", "scopes": ["relations:read", "webhooks:manage"]},
        keys,
    ]
    for wrong in (endpoint(app.id, "consumer.changed"), endpoint(app.id, "relation.changed", tenant="other")):
        assert [each["only_told"] for each in served([wrong], platform.store.find)] == [True]


@pytest.mark.parametrize(
    "change",
    [
        lambda platform, made: platform.registry.suspend(made.app, None),
        lambda platform, made: platform.registry.delete(made.app),
        lambda platform, made: platform.registry.approve(made.app, ["relations:read"]),
        lambda platform, made: platform.registry.approve(made.app, ["webhooks:manage"]),
    ],
    ids=["suspended", "deleted", "without webhooks", "without relations"],
)
def test_what_the_tenant_takes_back_is_not_sent_any_more(change: Change) -> None:
    platform = Platform()
    made = platform.approved("webhooks:manage", "relations:read")
    change(platform, made)
    [now] = served([endpoint(made.app.id, "relation.changed")], platform.store.find)
    assert must_wait(now, CHANGE)
    assert not must_wait(now, RECEIPT)


def test_an_application_that_goes_on_gets_its_deliveries_again() -> None:
    platform = Platform()
    made = platform.approved("webhooks:manage", "relations:read")
    every = [endpoint(made.app.id, "relation.changed")]
    stopped = platform.registry.suspend(made.app, None)
    [before] = served(every, platform.store.find)
    platform.registry.approve(stopped)
    [after] = served(every, platform.store.find)
    assert ("only_told" in before, "only_told" in after) == (True, False)


def test_what_waits_is_held_to_the_scope_of_its_own_type() -> None:
    """The types of the endpoint may have been changed since, so that it is sent to again."""
    platform = Platform()
    made = platform.approved("webhooks:manage", "relations:read", "consumers:read")
    platform.registry.approve(made.app, ["webhooks:manage", "consumers:read"])
    renderer = Renderer(Mock(), str, lambda _tenant, _consumer: None, None)
    changed, keys = endpoint(made.app.id, "consumer.changed"), endpoint("dev12345", "consumer.changed")
    [own, other] = served([changed, keys], platform.store.find)
    for at, type, dropped in (
        (own, "relation.changed", "the application no longer has the scope relations:read"),
        (own, "provider.changed", "the application no longer has the scope relations:read"),
        (own, "consumer.changed", None),
        (own, "webhook.disabled", None),
        (other, "relation.changed", None),
    ):
        waiting = {**delivery("ada"), "change": {**delivery("ada")["change"], "type": type}}
        assert not must_wait(at, waiting)
        request = renderer.request(at, waiting, Known({}, {}), Opened([secret(b"1")]))
        assert (request.dropped, bool(request.body)) == (dropped, dropped is None)
    told = {**delivery("ada"), "receipt": "acme:consumer.erased/1"}
    told["change"] = {**told["change"], "type": "consumer.erased"}
    assert renderer.request(own, told, Known({}, {}), Opened([secret(b"1")])).dropped is None


def test_an_application_is_told_of_an_erasure_by_its_receipt_alone() -> None:
    """Whom nobody has agreed for does not exist for it, and has not existed either."""
    app = Platform().approved("webhooks:manage", "relations:read", "consumers:read").app
    erased: set[str] = {"bob"}
    renderer = Renderer(Mock(), str, lambda _tenant, name: "delete" if name in erased else None, None)
    bound: dict[str, Any] = {"bound": True, "purpose": app.purpose}
    types = ("relation.changed", "consumer.changed")
    own, keys = endpoint(app.id, *types, **bound), endpoint("dev12345", *types, bound=True, purpose="news")
    agreed = Known({document_id("acme", "ada"): {app.purpose: True, "news": True}}, {})
    gone = {**delivery("bob"), "change": {**delivery("bob")["change"], "type": "consumer.changed"}}
    gone["change"]["data"] = {"consumer_id": "bob", "erased": True}
    receipt = {**delivery("bob"), "receipt": "r", "change": {**gone["change"], "type": "consumer.erased"}}

    def dropped(at: dict[str, Any], waiting: dict[str, Any]) -> bool:
        request = renderer.request(at, waiting, agreed, Opened([secret(b"1")]))
        assert bool(request.body) == (request.dropped is None)
        return request.dropped is not None

    for waiting, of_app, of_key in (
        (delivery("ada"), False, False),
        (delivery("eve"), True, True),  # has not agreed
        (delivery("bob"), True, False),
        (gone, True, False),
        ({**gone, "consumer_id": "ada"}, True, False),  # the ledger is behind the change
        (receipt, False, False),
    ):
        assert (dropped(own, waiting), dropped(keys, waiting)) == (of_app, of_key), waiting


def test_masks_that_are_added_or_removed_later_are_those_of_its_endpoints() -> None:
    platform = Platform()
    app = platform.approved("webhooks:manage", "relations:read").app
    own = endpoint(app.id, "relation.changed")
    # Made by a key of the tenant's that is bound to the application's purpose.
    other = endpoint("dev12345", "relation.changed", bound=True, purpose=app.purpose, masks=["rating"])
    for masks in (["amount"], ["amount", "consumer_id"], []):
        app = platform.registry.approve(app, masks=masks)
        found = served([own, other], platform.store.find)
        assert [each["masks"] for each in found] == [sorted(masks), sorted([*masks, "rating"])]
        hidden = "consumer_id" in masks
        assert [must_wait(each, RECEIPT) for each in found] == [hidden, hidden]
        assert not must_wait(found[0], {**RECEIPT, "change": {"data": {"app": app.id}}})


def test_what_an_application_is_told_goes_to_no_endpoint_of_another_tenant() -> None:
    app = Platform().approved("webhooks:manage").app
    # A key of another tenant's that is bound to the name of this application, as any name of a purpose.
    foreign = endpoint("dev12345", tenant="other", bound=True, purpose=app.purpose, state="enabled")
    own = endpoint(app.id, state="enabled")
    assert {application_of(each) for each in (foreign, own)} == {app.id}
    for known in (app, None):
        assert told_at(known, [foreign, own], "acme", named=True).endpoint == own
        assert told_at(known, [foreign], "acme", named=True).endpoint is None
    assert told_at(app, [foreign], "acme", named=True).reason == NO_ENDPOINT
    assert told_at(app, [foreign, {**own, "state": "disabled"}], "acme", named=True).reason == DISABLED


def test_a_receipt_goes_to_no_endpoint_that_would_hold_it_back_for_ever() -> None:
    platform = Platform()
    app = platform.approved("webhooks:manage").app
    bound: dict[str, Any] = {"bound": True, "purpose": app.purpose, "state": "enabled"}
    # Made by keys of the tenant's that are bound to the application's purpose; one sees less than it does.
    masked = endpoint("dev12345", masks=["consumer_id"], **bound)
    open_one = endpoint("dev67890", **bound)
    assert must_wait(served([masked], platform.store.find)[0], RECEIPT)
    for known in (app, None):
        assert told_at(known, [masked, open_one], "acme", named=True).endpoint == open_one
        assert told_at(known, [masked], "acme", named=True).reason == HIDDEN
        assert told_at(known, [masked, open_one], "acme", named=False).endpoint == masked


def test_an_application_that_cannot_be_read_concerns_its_own_endpoints_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    platform = Platform()
    one, other = (platform.approved("webhooks:manage", "relations:read").app for _ in range(2))
    every = [endpoint(each, "relation.changed") for each in (one.id, other.id, "dev12345")]
    broken = {one.id}
    counted: list[int] = []
    note = Unreadable(counted.append).note

    def find(id: str) -> App | None:
        if id in broken:
            raise UnreadableApp(id)
        return platform.store.find(id)

    for _ in range(3):
        assert [each["created_by"] for each in served(every, find, note)] == [other.id, "dev12345"]
    assert (caplog.text.count(one.id), other.id in caplog.text) == (1, False)
    broken.clear()
    assert len(served(every, find, note)) == 3
    assert counted == [1, 1, 1, 0]
