"""Reads the stored data of one consumer: for a correction, and for the export as one document."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import orjson
from fastapi import HTTPException
from pymongo.database import Database

from services.privacy.answers import Export, ExportedRecommendation, ExportedRelation, ExportedRelationship
from services.privacy.derived import Derived
from services.privacy.recipients import Recipients
from shared.access.masks import MASK, masked, presented
from shared.contracts.events import document_id
from shared.erasure.records import PSEUDONYMS, cause_of, erasure_id, looks_like_pseudonym
from shared.http.caller import INTELLIGENCE_READ, PERSONAL_READ, Caller
from shared.mongo.errors import translated
from shared.mongo.store import beginning_with
from shared.runtime.protocols import Document
from shared.vault.fields import PERSONAL_OF_CONSUMER, PERSONAL_OF_RELATION
from shared.vault.keys import Vault
from shared.vault.sealing import opener

_BATCH = 500
_INTERNAL = frozenset({"_id", "tenant", "versions", "version", "fingerprint", "score", "between", "blind"})


def unknown() -> HTTPException:
    return HTTPException(404, "no consumer is known under this id")


class People:
    """Reads one database. ``names`` returns the present full name of a collection. Every method raises
    Unavailable."""

    def __init__(self, database: Database[Document], names: Callable[[str], str], vault: Vault | None) -> None:
        self._database, self._names = database, names
        self._opened = opener(vault)
        self._derived, self._recipients = Derived(database), Recipients(database)

    def profile(self, tenant: str, consumer_id: str) -> Document | None:
        """The profile of a consumer, sealed values decrypted."""
        with translated():
            found = self._database[self._names("consumers")].find_one({"_id": document_id(tenant, consumer_id)})
        if found is None:
            return None
        [(shown, _)] = self._opened(tenant, [found])
        return shown

    def check_granted(self, tenant: str, consumer_id: str, caller: Caller) -> None:
        """Raises HTTPException (404), as for an unknown consumer, for one who does not exist for a caller that is
        bound to a purpose: whoever has not granted it."""
        if caller.purpose is None:
            return
        wanted = {"_id": document_id(tenant, consumer_id), f"consent.{caller.purpose}": True}
        with translated():
            if self._database[self._names("consumers")].find_one(wanted, {"_id": 1}) is None:
                raise unknown()

    def known(self, tenant: str, consumer_id: str) -> bool:
        """Whether anything but a profile is stored about a consumer."""
        wanted = {"_id": beginning_with(f"{document_id(tenant, consumer_id)}:"), "retracted": False}
        with translated():
            acted = self._database[self._names("relations")].find_one(wanted, {"_id": 1}) is not None
        return acted or self._derived.any(tenant, consumer_id)

    def pseudonymous(self, tenant: str, consumer_id: str) -> bool:
        """Whether this is the pseudonym of an erased consumer's relations."""
        if not looks_like_pseudonym(consumer_id):
            return False
        prefix = f"{document_id(tenant, consumer_id)}:"
        wanted = {"_id": beginning_with(prefix), "relation_id": {"$regex": PSEUDONYMS}}
        with translated():
            return self._database[self._names("relations")].find_one(wanted, {"_id": 1}) is not None

    def shown(self, profile: Document, caller: Caller) -> tuple[Document, list[str]]:
        """A profile as ``caller`` may see it, and the personal fields that it shows."""
        return presented(_public(profile), PERSONAL_OF_CONSUMER, caller)

    def erasure(self, tenant: str, consumer_id: str) -> Document | None:
        with translated():
            found = self._database[self._names("erasures")].find_one({"_id": erasure_id(tenant, consumer_id)})
        return None if found is None else {"erasure": found["_id"], "mode": found["mode"]}

    def export(self, tenant: str, profile: Document, caller: Caller, consumer_id: str) -> Iterator[bytes]:
        """One JSON document, piece by piece, with all that ``services.privacy.held`` calls exported. Fields that
        the caller may not see are masked and named."""
        hidden: set[str] = set()
        derived = caller.may(INTELLIGENCE_READ)
        head = {
            "consumer": self.shown(profile, caller)[0],
            "erasure": self.erasure(tenant, consumer_id),
            "graph": self._derived.graph(tenant, consumer_id) if derived else None,
            "applications": self._applications(tenant, profile, caller, consumer_id),
        }
        shown = _unlisted(masked(head, Export, caller.masks), hidden)
        yield b'{"consumer":' + _json(shown["consumer"])
        for name in ("erasure", "graph", "applications"):
            yield b',"%b":%b' % (name.encode(), _json(shown[name]))
        for name in ("relationships", "relations"):
            yield from _list(name, self._all(name, tenant, consumer_id, caller), hidden)
        if derived:
            found = self._derived.recommended(tenant, consumer_id)
            shown_lists = (masked(each, ExportedRecommendation, caller.masks) for each in found)
            yield from _list("recommended", shown_lists, hidden)
        else:
            yield b',"recommended":null'
        personal = () if caller.may(PERSONAL_READ) else (*PERSONAL_OF_CONSUMER, *PERSONAL_OF_RELATION)
        yield b',"masked":' + _json([*personal, *sorted(hidden.difference(personal))])
        yield b',"mask":' + _json(MASK) + b"}"

    def _applications(
        self, tenant: str, profile: Document, caller: Caller, consumer_id: str
    ) -> list[Document] | None:
        """Who may know the consumer is the consumer's to know: no application learns it of the others."""
        if caller.purpose is not None:
            return None
        return self._recipients.of(tenant, consumer_id, profile.get("consent") or {})

    def _all(self, name: str, tenant: str, consumer_id: str, caller: Caller) -> Iterator[Document]:
        """Every live document of the consumer in a collection, by id."""
        prefix = f"{document_id(tenant, consumer_id)}:"
        wanted: Document = {"_id": beginning_with(prefix)}
        if name == "relations":
            wanted["retracted"] = False
        after = prefix
        while True:
            # One page at a time, so that a slow or disconnected client holds no cursor.
            wanted["_id"] = {**beginning_with(prefix), "$gt": after}
            with translated():
                page = list(self._database[self._names(name)].find(wanted).sort("_id", 1).limit(_BATCH))
            for document, _ in self._opened(tenant, page):
                shown, _ = presented(_fact(document), PERSONAL_OF_RELATION, caller)
                model = ExportedRelation if name == "relations" else ExportedRelationship
                for part in self._parts(shown, f"{document['_id']}:") if "cells" in shown else (shown,):
                    yield masked(part, model, caller.masks)
            if len(page) < _BATCH:
                return
            after = page[-1]["_id"]

    def _parts(self, shown: Document, prefix: str) -> Iterator[Document]:
        """A relationship whose kinds and months are in documents of their own, as several: each with some of
        them."""
        shown = {name: value for name, value in shown.items() if name not in ("cells", "sums", "mass")}
        after = prefix
        while True:
            wanted = {"_id": {**beginning_with(prefix), "$gt": after}}
            with translated():
                cells = self._database[self._names("relationship_cells")].find(wanted).sort("_id", 1)
                page = list(cells.limit(_BATCH))
            if not page:
                return
            kinds: dict[str, Document] = {}
            for each in page:
                months = {f"{each['year']}-{month}": cell for month, cell in each["months"].items()}
                kinds.setdefault(each["kind"], {}).update(months)
            yield {**shown, "kinds": kinds}
            after = page[-1]["_id"]


def _list(name: str, documents: Iterable[Document], hidden: set[str]) -> Iterator[bytes]:
    yield b',"%b":[' % name.encode()
    first = True
    for document in documents:
        yield (b"" if first else b",") + _json(_unlisted(document, hidden))
        first = False
    yield b"]"


def _unlisted(shown: Document, hidden: set[str]) -> Document:
    """A masked part without its own list of masked fields, which is added to the whole's."""
    hidden.update(shown.get("masked", ()))
    return {name: value for name, value in shown.items() if name != "masked"}


def _public(document: Mapping[str, Any]) -> Document:
    return {name: value for name, value in document.items() if name not in _INTERNAL}


def _fact(document: Document) -> Document:
    shown = _public(document)
    shown.pop("retracted", None)
    if "version" in document:
        shown["event"] = cause_of(document)
    return shown


def _json(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_UTC_Z)
