"""The requested erasures, and the progress of each."""

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pymongo import ReturnDocument

from services.privacy.erasure_evidence import Evidence, Person, Stores, spellings
from services.privacy.receipts import Receipts
from services.privacy.schema import REQUESTS
from shared.access.apps.compliance import notice_of_erasure
from shared.access.apps.schema import NOTICES
from shared.contracts.events import EPOCH
from shared.contracts.spelling import nfc
from shared.erasure.derived import forget
from shared.erasure.records import Mode, erasure_id, stronger_mode
from shared.mongo.concerns import DURABLE
from shared.mongo.errors import translated
from shared.runtime.protocols import Document
from shared.sinks.waiting import TELLING, Sinks, Telling, of_facts
from shared.vault.keys import LIFE_SECONDS
from shared.versions.followers import followed_numbers
from shared.versions.progress import Mark, change_marks, counted_numbers, reached_by

log = logging.getLogger(__name__)

#: Longest lifetime of a cache entry: of data keys in the vault; answers of the relations API expire earlier.
CACHE_SECONDS = LIFE_SECONDS + 1.0
_SAID_AGAIN = timedelta(hours=1)

STEPS: Mapping[str, str] = {
    "accepted": "the erasure is in Kafka, or was requested there",
    "profile": "nothing of the profile is stored any more",
    "key": "the consumer's key is destroyed: everything encrypted under it is unreadable everywhere",
    "ledger": "the ledger, which outranks every event, contains the consumer",
    "facts": "the consumer's relations are retracted (delete) or moved to the pseudonym (anonymise)",
    "aggregates": "analytics has counted the changes of the relations",
    "intelligence": "no process of intelligence holds the consumer in memory; all it stored is deleted",
    "sinks": "every sink that was ever run has the changes of the erasure, and what it keeps is changed",
    "applications": "every application that the consumer has ever agreed to is about to be told",
    "caches": "every cached answer about the consumer has expired",
}


class Erasures:
    """Every method raises Unavailable. ``clock`` is aware. ``told`` returns the receipts of the applications of
    third parties that are told of an erasure (``shared.access.apps.compliance``)."""

    def __init__(
        self,
        stores: Stores,
        receipts: Receipts,
        clock: Callable[[], datetime],
        told: Callable[[str, str], Sequence[Document]] = lambda _tenant, _erasure: (),
    ) -> None:
        self._stores, self._receipts, self._clock, self._applications = stores, receipts, clock, told
        self._requests = stores.database.get_collection(REQUESTS, write_concern=DURABLE)
        #: When the log last named a sink that erasures wait for.
        self._said: dict[str, datetime] = {}

    def ask(self, tenant: str, consumer_id: str, mode: Mode) -> Document:
        """Record the request of an erasure. A repeated request changes nothing: ``asked`` is the time of the
        first."""
        return self._noted(tenant, consumer_id, mode, self._clock())

    def state(self, tenant: str, id: str) -> Document | None:
        """The state of a tenant's erasure, with the applications that are told of it; None if there is none with
        this id."""
        found = next(iter(self.states(tenant, [id])), None)
        if found is not None:
            found["applications"] = [
                _told_application(each) for each in self._applications(tenant, found["erasure"])
            ]
        return found

    def states(self, tenant: str, ids: Sequence[str]) -> list[Document]:
        """The states of those of a tenant's erasures that exist, in this order. Erasures of two spellings of an
        id, stored before ids were normalised, are one, under the spelling in NFC."""
        known = self._known(tenant, ids)
        requests = {person: self._request(person, records) for person, records in known.items()}
        evidence = Evidence(self._stores, {person: request["mode"] for person, request in requests.items()})
        reading = _Counting(self._stores)
        steps = {
            person: self._steps(request, evidence.steps(person), reading) for person, request in requests.items()
        }
        self._say([name for request in requests.values() for name in request.get("sinks", ())])
        return [self._told(request, steps[person]) for person, request in requests.items()]

    def _say(self, lacking: Sequence[str]) -> None:
        """Log the sinks that erasures wait for, each once an hour: they are looked at again and again, and one
        waits for other sinks than the next."""
        now = self._clock()
        names = list(dict.fromkeys(lacking))
        if any(name not in self._said or now - self._said[name] >= _SAID_AGAIN for name in names):
            log.info("erasures wait for %s: is one of them given up, its page says what to do", ", ".join(names))
            self._said.update(dict.fromkeys(names, now))

    def _known(self, tenant: str, ids: Sequence[str]) -> dict[Person, list[Document]]:
        """The records of each erasure, of all spellings of the consumer's id."""
        found = self._records(tenant, ids)
        people: list[Person] = []
        for id in ids:
            person = next(((tenant, nfc(each["consumer_id"])) for each in found if each["erasure"] == id), None)
            if person is not None and person not in people:
                people.append(person)
        others = [erasure_id(*each) for person in people for each in spellings(person)]
        if others:
            seen = {each["erasure"] for each in found}
            found += self._records(tenant, [id for id in others if id not in seen])
        known: dict[Person, list[Document]] = {person: [] for person in people}
        for record in found:
            known[tenant, nfc(record["consumer_id"])].append(record)
        return known

    def _records(self, tenant: str, ids: Sequence[str]) -> list[Document]:
        """Requests over HTTP, and what was folded from Kafka."""
        if not ids:
            return []
        database, names = self._stores.database, self._stores.names
        with translated():
            asked = list(self._requests.find({"erasure": {"$in": list(ids)}, "tenant": tenant}))
            folded = list(database[names("erasures")].find({"_id": {"$in": list(ids)}, "tenant": tenant}))
        return [*asked, *({**each, "erasure": each["_id"], "folded": each["asked"]} for each in folded)]

    def _request(self, person: Person, records: Sequence[Document]) -> Document:
        """The request of the strongest mode. Erasures that came through Kafka get one when they are first read."""
        mode: Mode = records[0]["mode"]
        for each in records:
            mode = stronger_mode(mode, each["mode"])
        own = erasure_id(*person)
        asked = [each for each in records if "folded" not in each and each["mode"] == mode]
        request = next((each for each in asked if each["erasure"] == own), None)
        times = [
            EPOCH + timedelta(microseconds=each["folded"][mode]["time"])
            for each in records
            # A record of the erasure's own spelling is that of the request.
            if mode in each.get("folded", ()) and (request is None or each["erasure"] != own)
        ]
        first = min([*times, *(each["asked"] for each in asked)])
        if request is None:
            request = self._noted(*person, mode, first)
        return {**request, "asked": min(request["asked"], first)}

    def _steps(self, request: Document, steps: dict[str, bool], counting: "_Counting") -> dict[str, bool]:
        if "marks" not in request and all(steps.values()):
            request["marks"] = self._keep(request, "marks", counting.marks())
        steps["aggregates"] = all(steps.values()) and counting.done(request["marks"])
        steps["intelligence"] = all(steps.values()) and (
            # It was true then, and nothing brings the consumer back.
            "settled" in request or self._forgotten(request, counting)
        )
        if all(steps.values()) and "settled" not in request:
            # It may be for ever, if nobody runs one of them any more.
            request["sinks"] = counting.lacking(request["marks"])
        steps["sinks"] = all(steps.values()) and not request.get("sinks")
        steps["applications"] = all(steps.values()) and (
            "settled" in request or counting.told(request["marks"], request["tenant"], request["erasure"])
        )
        if all(steps.values()) and "settled" not in request:
            request["settled"] = self._keep(request, "settled", self._clock())
        waited = self._clock() - request["settled"] if "settled" in request else timedelta(0)
        steps["caches"] = all(steps.values()) and waited >= timedelta(seconds=CACHE_SECONDS)
        return steps

    def _forgotten(self, request: Document, counting: "_Counting") -> bool:
        """Whether all processes of intelligence have followed the same changes. Then what they stored of the
        consumer is deleted: none of them can store it again."""
        if not counting.followed(request["marks"]):
            return False
        tenant, consumer_id = request["tenant"], nfc(request["consumer_id"])
        gone = [id for _, id in spellings((tenant, consumer_id))]
        if request["mode"] == "delete":
            gone.append(self._stores.pseudonym(tenant, consumer_id))
        forget(self._stores.database, tenant, gone)
        return True

    def _told(self, request: Document, steps: Mapping[str, bool]) -> Document:
        done = all(steps.values())
        told: Document = {
            "erasure": request["erasure"],
            "consumer_id": request["consumer_id"],
            "mode": request["mode"],
            "asked": request["asked"],
            "done": done,
            "steps": [{"name": name, "done": reached, "means": STEPS[name]} for name, reached in steps.items()],
            "sinks": request.get("sinks", []),
            "receipt": None,
        }
        if done:
            told["receipt"] = request.get("receipt") or self._keep(request, "receipt", self._receipt(request))
        return told

    def _receipt(self, request: Document) -> str:
        return self._receipts.sign(
            {
                "iss": "kith/privacy",
                "sub": request["erasure"],
                "iat": int(self._clock().timestamp()),
                "tenant": request["tenant"],
                "consumer_id": request["consumer_id"],
                "mode": request["mode"],
                "asked": request["asked"].isoformat(),
                "steps": list(STEPS),
                # As of now. All are named, but an erasure waits for the answer of no third party.
                "applications": {
                    each["app"]: each["state"]
                    for each in self._applications(request["tenant"], request["erasure"])
                },
            }
        )

    def _noted(self, tenant: str, consumer_id: str, mode: Mode, asked: datetime) -> Document:
        erasure = erasure_id(tenant, consumer_id)
        fields = {"erasure": erasure, "tenant": tenant, "consumer_id": consumer_id, "mode": mode}
        with translated():
            stored = self._requests.find_one_and_update(
                {"_id": f"{erasure}/{mode}"},
                # Truncated to milliseconds, as MongoDB does.
                {"$setOnInsert": {**fields, "asked": asked.replace(microsecond=asked.microsecond // 1000 * 1000)}},
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        assert stored is not None
        return stored

    def _keep(self, request: Document, field: str, value: Any) -> Any:
        """Store ``value``, unless another process was first. Returns the stored value."""
        with translated():
            self._requests.update_one({"_id": request["_id"], field: {"$exists": False}}, {"$set": {field: value}})
            stored = self._requests.find_one({"_id": request["_id"]}, {field: 1})
        assert stored is not None
        return stored[field]


def _told_application(receipt: Document) -> Document:
    kept = ("app", "state", "reason", "enqueued", "settled")
    return {name: receipt[name] for name in kept if name in receipt}


class _Counting:
    """What analytics has counted, read at most once for many erasures."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._marks: list[Mark] | None = None
        self._numbers: Mapping[str, int] | None = None
        self._followed: Sequence[Mapping[str, int]] | None = None
        self._sinks: Sinks | None = None
        self._telling: Telling | None = None

    def marks(self) -> list[Mark]:
        """The changes that tell of what is erased by now. Raises Unavailable."""
        if self._marks is None:
            self._marks = change_marks(self._stores.relations, TELLING)
        return self._marks

    def done(self, marks: Sequence[Mark]) -> bool:
        """Whether analytics has counted all changes that were numbered when the facts had been erased. Raises
        Unavailable."""
        if self._numbers is None:
            self._numbers = counted_numbers(self._stores.database, self._stores.analytics)
        return reached_by(self._numbers, of_facts(marks))

    def lacking(self, marks: Sequence[Mark]) -> list[str]:
        """The sinks that do not have the same changes, and those of profiles. Raises Unavailable."""
        if self._sinks is None:
            self._sinks = Sinks(self._stores.database)
        return self._sinks.lacking(marks)

    def told(self, marks: Sequence[Mark], tenant: str, erasure: str) -> bool:
        """Whether the webhooks service has the same changes of profiles, and has made receipts for applications of
        them; true where it was never run. Raises Unavailable."""
        if self._telling is None:
            self._telling = Telling(self._stores.database, NOTICES)
        return self._telling.has(marks, notice_of_erasure(tenant, erasure))

    def followed(self, marks: Sequence[Mark]) -> bool:
        """Whether every process that keeps the relationships in memory has followed the same changes. Raises
        Unavailable."""
        if self._followed is None:
            self._followed = followed_numbers(self._stores.database)
        return all(reached_by(numbers, of_facts(marks)) for numbers in self._followed)
