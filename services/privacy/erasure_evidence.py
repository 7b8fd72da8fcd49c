"""What the stores contain of erased consumers: the evidence for the steps of their erasures."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pymongo.database import Database
from pymongo.read_concern import ReadConcern

from shared.contracts.events import document_id
from shared.contracts.spelling import other_spellings
from shared.erasure.records import KEYS, Mode, Pseudonym, stronger_mode
from shared.mongo.errors import translated
from shared.mongo.store import beginning_with
from shared.runtime.protocols import Document
from shared.versions.generations import Registry

_MAJORITY = ReadConcern("majority")

#: A tenant and a consumer's id in NFC.
Person = tuple[str, str]


@dataclass(frozen=True)
class Stores:
    """The sources of the progress: ``names`` returns the present full name of a collection of relations,
    ``ledger`` the mode of a consumer in the ledger."""

    database: Database[Document]
    names: Callable[[str], str]
    relations: Registry
    analytics: Registry
    ledger: Callable[[str, str], Mode | None]
    pseudonym: Pseudonym


def reached(found: Mode | None, mode: Mode) -> bool:
    return found is not None and stronger_mode(found, mode) == found


class Evidence:
    """What is left of some consumers, each with the mode of their erasure, in one query per collection."""

    def __init__(self, stores: Stores, asked: Mapping[Person, Mode]) -> None:
        """Raises Unavailable."""
        self._stores, self._asked = stores, asked
        # What was stored before ids were normalised must be gone, too.
        self._spelled = {person: [document_id(*each) for each in spellings(person)] for person in asked}
        ids = {"_id": {"$in": [id for spelled in self._spelled.values() for id in spelled]}}
        database = stores.database
        with translated():
            self._profiles = {
                each["_id"]: each.get("erased")
                for each in database[stores.names("consumers")].find(ids, {"erased": 1})
            }
            self._keys = {
                each["_id"]: bool(each.get("destroyed")) for each in database[KEYS].find(ids, {"destroyed": 1})
            }
            # With majority read concern, like the marks, which are read next and must not be older.
            self._factless = self._without_facts(database.with_options(read_concern=_MAJORITY))

    def _without_facts(self, database: Database[Document]) -> frozenset[Person]:
        """The consumers whose facts are gone: there is a marker, and nothing else."""
        wanted = {document_id(*person): person for person in self._asked}
        markers = {
            wanted[each["_id"]]: each["mode"]
            for each in database[self._stores.names("erased")].find({"_id": {"$in": list(wanted)}}, {"mode": 1})
        }
        marked = [person for person, mode in self._asked.items() if reached(markers.get(person), mode)]
        if not marked:
            return frozenset()
        first, *others = [self._any_fact(person, place) for place, person in enumerate(marked)]
        name = self._stores.names("relations")
        pipeline = [*first, *({"$unionWith": {"coll": name, "pipeline": other}} for other in others)]
        found = {each["_id"] for each in database[name].aggregate(pipeline)}
        return frozenset(person for place, person in enumerate(marked) if place not in found)

    def _any_fact(self, person: Person, place: int) -> list[Document]:
        gone = list(self._spelled[person])
        if self._asked[person] == "delete":
            gone.append(document_id(person[0], self._stores.pseudonym(*person)))
        ids = [{"_id": beginning_with(f"{each}:")} for each in gone]
        return [{"$match": {"$or": ids}}, {"$limit": 1}, {"$project": {"_id": {"$literal": place}}}]

    def steps(self, person: Person) -> dict[str, bool]:
        """Which steps of the consumer's erasure are done, up to the facts."""
        mode, spelled = self._asked[person], self._spelled[person]
        own = document_id(*person)
        return {
            "accepted": True,
            "profile": own in self._profiles
            and all(reached(self._profiles[id], mode) for id in spelled if id in self._profiles),
            "key": own in self._keys and all(self._keys[id] for id in spelled if id in self._keys),
            "ledger": reached(self._stores.ledger(*person), mode),
            "facts": person in self._factless,
        }


def spellings(person: Person) -> list[Person]:
    """The person, and the other spellings in which their id may have been stored."""
    tenant, id = person
    return [person, *((tenant, each) for each in other_spellings(id))]
