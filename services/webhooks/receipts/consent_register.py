"""The register of the applications that a consumer has ever agreed to, and the notice for them when the consumer
is erased. Pure.

Both follow from the changes of consumers, which report each consent as soon as it counts. The register is written
in the transaction of the fold, and an erasure turns it into a notice and deletes it: so there is one notice,
whatever crashes or is repeated, and it names an application whose consent was withdrawn long ago. The change that
reports the erasure names those that were agreed to last: a consent may be older than the register.
"""

from collections.abc import Generator, Iterable, Sequence
from datetime import datetime
from typing import Any

from shared.access.apps.compliance import erased, register_id
from shared.access.apps.model import is_app_id
from shared.access.apps.schema import APPS, NOTICES, REGISTER
from shared.runtime.protocols import Answer, Ask, Document, Get, Write


def register_writes(changes: Iterable[Document]) -> Generator[Ask, Answer, list[Write]]:
    """Return the writes to the register and the notices that changes of consumers cause."""
    telling = [change for change in changes if _tells(change["data"])]
    if not telling:
        return []
    named = {id for change in telling for id in _applications(change["data"])}
    ids = {register_id(change["tenant"], change["data"]["consumer_id"]) for change in telling}
    found = yield Get({REGISTER: ids, APPS: named})
    stored, apps = found.get(REGISTER, {}), found.get(APPS, {})
    known = {id: document["apps"] for id, document in stored.items()}
    writes = []
    for change in telling:
        data, tenant = change["data"], change["tenant"]
        id = register_id(tenant, data["consumer_id"])
        # Anybody may name any application in a consent: only the tenant's own are kept.
        own = (name for name in _applications(data) if name in apps and apps[name].get("tenant") == tenant)
        ever = sorted({*known.get(id, []), *own})
        if data.get("erased"):
            if ever:
                notice = erased(tenant, data["consumer_id"], ever, datetime.fromisoformat(change["time"]))
                # Regardless of what is stored: a restored dump may make it again.
                writes.append(Write(NOTICES, notice["_id"], None, notice, blind=True))
            known[id] = []
            continue
        known[id] = ever
    return [*writes, *_changed(stored, known)]


def _changed(stored: dict[str, Document], known: dict[str, list[str]]) -> Generator[Write, None, None]:
    for id, apps in sorted(known.items()):
        before = stored.get(id)
        after: Document | None = {"_id": id, "apps": apps} if apps else None
        if after != before:
            yield Write(REGISTER, id, before, after)


def _tells(data: Document) -> bool:
    return isinstance(data.get("consumer_id"), str) and bool(data.get("erased") or _applications(data))


def _applications(data: Document) -> Sequence[str]:
    stated: Any = data.get("applications")
    return [id for id in stated if isinstance(id, str) and is_app_id(id)] if isinstance(stated, list) else []
