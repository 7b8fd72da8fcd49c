"""What the services share about erasure: names, ranks and the records of the ledger. Pure."""

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
#: The name under which an erased consumer, or a fact of theirs, is kept. It is always the same, and cannot be
#: reversed.
Pseudonym = Callable[[str, str], str]

#: The form of pseudonyms: those of the vault, and those of ``hashed``.
PSEUDONYMS = "^(?:anon-[0-9a-f]{26}|p-[0-9a-f]{32})$"

#: Written by the vault, and by this package when a key is destroyed.
KEYS = DATA_KEYS
KEYS_SPEC = COLLECTIONS[KEYS]


class LedgerEntry(BaseModel):
    """A record of the ledger: this consumer is erased, permanently, regardless of other data."""

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
    """Parse a record. Raises InvalidEvent."""
    try:
        entry = LedgerEntry.model_validate_json(raw)
        return entry.model_copy(update={"consumer_id": nfc(entry.consumer_id)})
    except ValidationError as error:
        raise InvalidEvent("invalid", f"is not a record of the ledger ({error.error_count()} faults)") from None


def erasure_id(tenant: str, consumer_id: str) -> str:
    """The id of a consumer's erasure. A consumer has one, however often it is requested."""
    return blake2b(f"{tenant}\0{consumer_id}".encode(), digest_size=16).hexdigest()


def stronger_mode(one: Mode | None, other: Mode) -> Mode:
    """``delete`` outranks ``anonymise``, so the order of two erasures does not matter."""
    return max((one or other, other), key=get_args(Mode).index)


def destroyed_key(id: str) -> dict[str, object]:
    """The document in place of a destroyed data key."""
    return {"_id": id, "destroyed": True}


def hashed(tenant: str, text: str) -> str:
    """A Pseudonym without a secret: anyone who knows or guesses the name can compute it."""
    return "p-" + blake2b(f"pseudonym\0{tenant}\0{text}".encode(), digest_size=16).hexdigest()


def looks_like_pseudonym(text: str) -> bool:
    """Whether a name has the form of a pseudonym. A name of an upstream system may have it, too."""
    return re.fullmatch(PSEUDONYMS, text) is not None


#: Replaces the cause of a pseudonym's facts: the id of the event would reveal to its sender whose fact it was.
ANONYMISED = {"source": "kith/relations", "id": "anonymised"}


def cause_of(fact: Mapping[str, Any]) -> dict[str, str]:
    """The source and id of the event behind a stored fact, in the form that may be shown."""
    version = fact["version"]
    return dict(ANONYMISED) if is_pseudonymous(fact) else {"source": version["source"], "id": version["id"]}


def is_pseudonymous(fact: Mapping[str, Any]) -> bool:
    """Whether a stored fact belongs to a pseudonym. Its relation then has another name as well."""
    return looks_like_pseudonym(fact["consumer_id"]) and looks_like_pseudonym(fact["relation_id"])
