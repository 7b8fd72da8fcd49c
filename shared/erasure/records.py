"""Erasure, as the services agree on it: names, ranks and the records of the ledger. Pure."""

import re
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.contracts.errors import InvalidEvent
from shared.contracts.events import Id, Tenant, Time, document_id
from shared.contracts.spelling import nfc
from shared.vault.schema import COLLECTIONS, DATA_KEYS

Mode = Literal["anonymise", "delete"]
#: Under which name a tenant's consumer, or fact, goes on; nobody finds the way back. The same each time.
Pseudonym = Callable[[str, str], str]

#: What pseudonyms look like: those of the vault, and those of ``hashed``.
PSEUDONYMS = "^(?:anon-[0-9a-f]{26}|p-[0-9a-f]{32})$"

#: Written by the vault, and here when the key is destroyed.
KEYS = DATA_KEYS
KEYS_SPEC = COLLECTIONS[KEYS]


class LedgerEntry(BaseModel):
    """A record of the ledger: this consumer is erased, and stays so whatever else says otherwise."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    erasure: str
    tenant: Tenant
    consumer_id: Id
    mode: Mode
    time: Time

    @property
    def document_id(self) -> str:
        return document_id(self.tenant, self.consumer_id)


def decode_entry(raw: bytes) -> LedgerEntry:
    """Raises InvalidEvent."""
    try:
        entry = LedgerEntry.model_validate_json(raw)
        return entry.model_copy(update={"consumer_id": nfc(entry.consumer_id)})
    except ValidationError as error:
        raise InvalidEvent("invalid", f"is no record of the ledger ({error.error_count()} faults)") from None


def erasure_id(tenant: str, consumer_id: str) -> str:
    """A consumer's erasure is one, however often it is asked for, and this is its name."""
    return blake2b(f"{tenant}\0{consumer_id}".encode(), digest_size=16).hexdigest()


def stronger_mode(one: Mode | None, other: Mode) -> Mode:
    """``delete`` outranks ``anonymise``, so that the order of two erasures does not show."""
    return max((one or other, other), key=get_args(Mode).index)


def destroyed_key(id: str) -> dict[str, object]:
    """The document in place of a data key that nobody can have any more."""
    return {"_id": id, "destroyed": True}


def hashed(tenant: str, text: str) -> str:
    """A Pseudonym without a secret: whoever knows, or guesses, the name finds it again."""
    return "p-" + blake2b(f"pseudonym\0{tenant}\0{text}".encode(), digest_size=16).hexdigest()


def looks_like_pseudonym(text: str) -> bool:
    """Whether a name has the form that pseudonyms have; an upstream's own may have it, too."""
    return re.fullmatch(PSEUDONYMS, text) is not None


#: In place of the event behind what a pseudonym has: its name would reveal to those who sent it whose it was.
ANONYMISED = {"source": "kith/relations", "id": "anonymised"}


def cause_of(fact: Mapping[str, Any]) -> dict[str, str]:
    """The source and id of the event behind a stored fact, as they may be shown."""
    version = fact["version"]
    return dict(ANONYMISED) if is_pseudonymous(fact) else {"source": version["source"], "id": version["id"]}


def is_pseudonymous(fact: Mapping[str, Any]) -> bool:
    """Whether a stored fact is a pseudonym's: then its relation bears another name as well."""
    return looks_like_pseudonym(fact["consumer_id"]) and looks_like_pseudonym(fact["relation_id"])
