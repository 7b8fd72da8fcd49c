"""The stored form of applications, which processes of the version before and after this one read, too."""

from dataclasses import replace

from shared.access.apps.model import Limits
from shared.access.apps.mongo import app_in, document_of
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
    assert app_in(later) == new_app()
