"""Endpoints of applications: to one that was stopped, or may not read what it gets any more, nothing is sent."""

from collections.abc import Sequence

from services.webhooks.subscription import SCOPES
from shared.access.apps.model import App, is_app_id
from shared.access.apps.store import AppStore
from shared.http.caller import WEBHOOKS_MANAGE
from shared.runtime.protocols import Document


def served(endpoints: Sequence[Document], apps: AppStore) -> list[Document]:
    """Those endpoints that are sent to: all but those that an application has created which may not have them now.
    What is queued for these waits. Raises Unavailable."""
    creators = {each["created_by"] for each in endpoints if is_app_id(each["created_by"])}
    found = {id: apps.find(id) for id in sorted(creators)}
    return [each for each in endpoints if (by := each["created_by"]) not in found or _may_have(found[by], each)]


def _may_have(app: App | None, endpoint: Document) -> bool:
    needed = {WEBHOOKS_MANAGE, *(SCOPES[type] for type in endpoint["types"] if type in SCOPES)}
    return (
        app is not None
        and app.tenant == endpoint["tenant"]
        and app.state == "approved"
        and needed <= {*app.scopes}
    )
