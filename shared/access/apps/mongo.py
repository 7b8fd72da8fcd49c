"""Applications in MongoDB: the collections ``apps`` and ``app_keys``."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from bson.codec_options import CodecOptions
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.read_concern import ReadConcern

from shared.access.apps.model import App, Limits, RevokedToken, Secret
from shared.access.apps.schema import APPS, NOTICES, PUBLIC_KEYS, TENANTS
from shared.access.apps.store import Full, PublicKey, UnreadableApp
from shared.contracts.errors import Stale
from shared.mongo.concerns import DURABLE
from shared.mongo.errors import translated
from shared.mongo.transactions import transact
from shared.runtime.protocols import Document

log = logging.getLogger(__name__)

_PARTS = {"secrets": Secret, "revoked": RevokedToken}
_LISTS = ("scopes", "masks", "secrets", "revoked")
_USUAL = Limits()


def durable(database: Database[Document], name: str) -> Collection[Document]:
    """A collection whose writes survive a failover, so that what was revoked stays so, with aware times."""
    return database.get_collection(
        name,
        codec_options=CodecOptions(tz_aware=True),
        write_concern=DURABLE,
        read_concern=ReadConcern("majority"),
    )


class MongoApps:
    """An AppStore."""

    def __init__(self, database: Database[Document]) -> None:
        self._apps, self._notices = durable(database, APPS), durable(database, NOTICES)
        self._tenants = durable(database, TENANTS)

    def insert(self, app: App, most: int | None = None) -> bool:
        def transaction(session: ClientSession) -> None:
            # Of two that count and then insert, one is called again: both write this.
            self._tenants.update_one({"_id": app.tenant}, {"$inc": {"turns": 1}}, upsert=True, session=session)
            if most is not None and self._count(app.tenant, most, session) >= most:
                raise Full
            self._apps.insert_one(document_of(app), session=session)

        try:
            transact(self._apps.database, transaction)
        except Stale:
            return False
        return True

    def _count(self, tenant: str, most: int, session: ClientSession) -> int:
        return self._apps.count_documents({"tenant": tenant}, limit=most, session=session)

    def find(self, id: str) -> App | None:
        with translated():
            found = self._apps.find_one({"_id": id})
        return None if found is None else app_in(found)

    def all(self, tenant: str) -> list[App]:
        with translated():
            # Of 200 applications, each may have a thousand tokens that were revoked.
            found = list(self._apps.find({"tenant": tenant}, {"revoked": 0}).sort([("created", 1), ("_id", 1)]))
        apps = []
        for each in found:
            try:
                apps.append(app_in({**each, "revoked": []}))
            except UnreadableApp as error:
                log.error("%s; it is left out of the list", error)
        return apps

    def replace(self, before: App, after: App) -> bool:
        match = {"_id": before.id, "revision": before.revision}
        with translated():
            return self._apps.replace_one(match, document_of(after)).matched_count == 1

    def delete(self, app: App, notice: Mapping[str, Any] | None = None) -> bool:
        def transaction(session: ClientSession) -> bool:
            found = self._apps.delete_one({"_id": app.id, "revision": app.revision}, session=session)
            if found.deleted_count and notice is not None:
                self._notices.insert_one(dict(notice), session=session)
            return found.deleted_count == 1

        return transact(self._apps.database, transaction)


class MongoPublicKeys:
    """A PublicKeyStore."""

    def __init__(self, database: Database[Document]) -> None:
        self._keys = durable(database, PUBLIC_KEYS)

    def find(self, kid: str) -> PublicKey | None:
        with translated():
            found = self._keys.find_one({"_id": kid})
        return None if found is None else public_key(found)

    def all(self) -> list[PublicKey]:
        with translated():
            return [public_key(found) for found in self._keys.find().sort([("created", 1), ("_id", 1)])]


def public_key(document: Document) -> PublicKey:
    return PublicKey(
        document["_id"], document["issuer"], document["jwk"], document["created"], document.get("until")
    )


def document_of(app: App) -> Document:
    """The stored form of an application. A limit that came later is left out where it is the usual one: a process
    of the version before, beside which this one may run, refuses an application with a limit that it does not
    know."""
    stated: Document = {name: value for name, value in asdict(app).items() if value is not None}
    if app.limits.webhooks == _USUAL.webhooks:
        del stated["limits"]["webhooks"]
    lists = {name: list(value) for name, value in stated.items() if isinstance(value, tuple)}
    return {"_id": stated.pop("id"), **stated, **lists}


def app_in(document: Document) -> App:
    """The application in a stored document. What a later version has added is not read. Raises UnreadableApp."""
    try:
        known = _known(App, document)
        for name, kind in _PARTS.items():
            known[name] = [kind(**_known(kind, each)) for each in known.get(name, ())]
        lists = {name: tuple(value) for name, value in known.items() if isinstance(value, list)}
        limits = Limits(**_known(Limits, document["limits"]))
        app = App(id=document["_id"], **{**known, **lists, "limits": limits})
    except (AttributeError, KeyError, TypeError):
        raise UnreadableApp(str(document["_id"])) from None
    # Others that decide about access are taken apart without being looked at: a text, for one, has members, too.
    if not all(isinstance(getattr(app, name), tuple) for name in _LISTS):
        raise UnreadableApp(app.id)
    return app


def _known(kind: type, stated: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in stated.items() if name in names}
