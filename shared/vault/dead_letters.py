"""Dead letters, encrypted as a whole: the personal values of an invalid event cannot be located. Pure.

A letter is encrypted with the key of its consumer, if the event or the message's key contains the id. Otherwise it
is encrypted with the tenant's own key, and without a tenant with that of ``default``. So erasing a consumer erases
its letters, too. Only the value is encrypted; the key and the headers stay as they are.
"""

import json

from pydantic import TypeAdapter, ValidationError

from shared.contracts.events import Id, Tenant
from shared.contracts.spelling import nfc
from shared.runtime.dead_letters import readable_fields
from shared.runtime.protocols import Record
from shared.vault.keys import TENANT
from shared.vault.protocols import Destroyed
from shared.vault.tokens import DataKey, associated

#: The beginning of a sealed value. No event begins like this.
MARK = b"\x00kith1"
#: A header of sealed letters: the owner of the key, as a JSON array of tenant and consumer id.
SEALED_FOR = "kith-sealed-for"
#: Replaces the value if the consumer's key is destroyed.
NOTHING = MARK + b"-destroyed"

Owner = tuple[str, str]

_TENANT: TypeAdapter[str] = TypeAdapter(Tenant)
_ID: TypeAdapter[str] = TypeAdapter(Id)
_FIELD = "dead-letter"


def owner_of(record: Record, unstated: str = "default") -> Owner:
    """Tenant and consumer id of the key for a record, whose tenant is ``unstated`` where it states none. The id is
    empty for the tenant's own key."""
    fields = readable_fields(record) or {}
    data = fields.get("data")
    tenant, consumer = fields.get("tenant", unstated), data.get("consumer_id") if isinstance(data, dict) else None
    if _fits(_TENANT, tenant) and _fits(_ID, consumer):
        return tenant, nfc(str(consumer))
    named, colon, rest = (record.key or b"").decode("utf-8", "replace").partition(":")
    if colon and _fits(_TENANT, named):
        about_consumers = record.partition.topic.rpartition(".")[2] != "providers"
        return named, nfc(rest) if about_consumers and _fits(_ID, rest) else TENANT
    return (tenant if fields and _fits(_TENANT, tenant) else "default"), TENANT


def conceal(record: Record, owner: Owner, key: DataKey | Destroyed) -> Record:
    """The record with its value sealed, and a header with the owner of the key."""
    if record.value is None:
        return record
    place = associated(*owner, _FIELD)
    value = NOTHING if isinstance(key, Destroyed) else MARK + key.seal(record.value, place)
    return record._replace(value=value, headers=(*record.headers, (SEALED_FOR, json.dumps(owner).encode())))


def sealed_for(value: bytes | None, headers: tuple[tuple[str, bytes], ...]) -> Owner | None:
    """The owner of the key that seals a letter's value; None when it is not sealed."""
    if value is None or not value.startswith(MARK):
        return None
    for name, text in reversed(headers):
        if name == SEALED_FOR:
            tenant, consumer_id = json.loads(text)
            return tenant, consumer_id
    return None


def opened(value: bytes, owner: Owner, key: DataKey | Destroyed | None) -> bytes | None:
    """The original value of a sealed letter; None when its key is destroyed. Raises Unreadable."""
    if value == NOTHING or isinstance(key, Destroyed) or key is None:
        return None
    return key.open(value.removeprefix(MARK), associated(*owner, _FIELD))


def _fits(kind: TypeAdapter[str], value: object) -> bool:
    try:
        kind.validate_python(value)
    except ValidationError:
        return False
    return True
