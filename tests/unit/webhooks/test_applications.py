"""Endpoints of applications end with what the application may do."""

from collections.abc import Callable
from typing import Any

import pytest

from services.apps.registry import Registered
from services.webhooks.applications import served
from tests.support.apps import Platform

Change = Callable[[Platform, Registered], object]


def endpoint(by: str, *types: str, tenant: str = "acme") -> dict[str, Any]:
    return {"_id": f"{tenant}:{by}", "tenant": tenant, "created_by": by, "types": [*types, "webhook.disabled"]}


def test_an_approved_application_gets_what_it_may_read_and_keys_are_not_asked_about() -> None:
    platform = Platform()
    app = platform.approved("webhooks:manage", "relations:read").app
    every = [endpoint(app.id, "relation.changed"), endpoint("dev12345", "consumer.changed")]
    assert served(every, platform.store) == every
    assert served([endpoint(app.id, "consumer.changed")], platform.store) == []
    assert served([endpoint(app.id, "relation.changed", tenant="other")], platform.store) == []


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
    assert served([endpoint(made.app.id, "relation.changed")], platform.store) == []


def test_an_application_that_goes_on_gets_its_deliveries_again() -> None:
    platform = Platform()
    made = platform.approved("webhooks:manage", "relations:read")
    every = [endpoint(made.app.id, "relation.changed")]
    stopped = platform.registry.suspend(made.app, None)
    assert served(every, platform.store) == []
    platform.registry.approve(stopped)
    assert served(every, platform.store) == every
