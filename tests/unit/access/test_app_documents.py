"""The stored form of applications, which processes of the version before and after this one read, too."""

from dataclasses import replace
from typing import Any

import pytest

from shared.access.apps.model import Limits
from shared.access.apps.mongo import app_in, document_of
from shared.access.apps.store import UnreadableApp
from tests.support.apps import new_app


def test_limits_that_came_later_are_stored_only_where_they_are_not_the_usual_ones() -> None:
    usual, other = new_app(), replace(new_app(), limits=Limits(webhooks="5/second"))
    # All that the version before knows; it makes an error of any other.
    assert document_of(usual)["limits"].keys() == {"requests", "events_a_day", "endpoints"}
    assert document_of(other)["limits"]["webhooks"] == "5/second"
    assert [app_in(document_of(app)) for app in (usual, other)] == [usual, other]


def test_what_a_later_version_has_stored_is_no_error() -> None:
    stored = document_of(new_app())
    later = {**stored, "colour": "red", "limits": {**stored["limits"], "storage": 7}}
    later["secrets"] = [{**each, "algorithm": "sha256"} for each in stored["secrets"]]
    assert app_in(later) == new_app()


@pytest.mark.parametrize(
    "change",
    [
        {"limits": None},
        {"limits": ["10/second"]},
        {"secrets": [{"id": "x"}]},
        {"secrets": ["x"]},
        {"secrets": 7},
        {"revoked": [None]},
        {"scopes": "relations:read"},
        {"masks": {"consumer_id": True}},
    ],
    ids=str,
)
def test_what_cannot_be_read_names_its_application(change: dict[str, Any]) -> None:
    app = new_app()
    with pytest.raises(UnreadableApp) as found:
        app_in({**document_of(app), **change})
    assert found.value.id == app.id
    without = {name: value for name, value in document_of(app).items() if name not in change}
    if "limits" in change:
        with pytest.raises(UnreadableApp):
            app_in(without)
