"""The hash chain of the audit: every entry of a tenant contains the hash of the one before. Pure.

What it proves: entries 1 to n of a tenant are unchanged since entry n was written, if n's hash is known from
elsewhere (the topic ``kith.audit``, a note, another entry). It reveals a changed, missing or exchanged entry. What
it cannot prove: with plain SHA-256 anyone with write access to the collection can recompute a chain, and only
copies kept elsewhere contradict it. With HMAC (KITH_AUDIT_KEY) they need the key as well. Entries cut off the end
are noticed only as far as the topic has them. That an act was recorded at all depends on the services.
"""

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Entry = dict[str, Any]

#: The chain of acts on the installation instead of a tenant. No tenant can have this name.
INSTALLATION = "*"
FIRST = ""


@dataclass(frozen=True, slots=True)
class Act:
    """An act to record. Neither ``subject`` nor ``details`` may contain a personal value.

    ``who`` is a name for people, ``key`` the credential (Caller.key). ``action`` is a short stable code such as
    ``personal.read`` or ``keys.revoke``. ``subject`` is what it was done to, ``fields`` are the fields shown.
    """

    tenant: str
    who: str
    key: str
    action: str
    subject: Mapping[str, str] = field(default_factory=dict)
    fields: tuple[str, ...] = ()
    details: Mapping[str, str | int] = field(default_factory=dict)


def entry_of(act: Act, time: datetime, sequence: int, previous: str, key: bytes | None) -> Entry:
    """The entry of ``act``; ``previous`` is the hash of entry ``sequence`` − 1, or FIRST."""
    entry: Entry = {
        "tenant": act.tenant,
        "sequence": sequence,
        "time": time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "who": act.who,
        "key": act.key,
        "action": act.action,
        "subject": dict(act.subject),
        "fields": list(act.fields),
        "details": dict(act.details),
        "previous": previous,
        "algorithm": "sha256" if key is None else "hmac-sha256",
    }
    return {**entry, "hash": hash_of(entry, key)}


def is_keyed(entry: Mapping[str, Any]) -> bool:
    """Whether an entry was made with a key."""
    return bool(entry.get("algorithm") != "sha256")


def hash_of(entry: Mapping[str, Any], key: bytes | None) -> str:
    """The hash of everything but the hash itself, as JSON without spaces and with sorted names."""
    text = canonical({name: value for name, value in entry.items() if name != "hash"})
    return hashlib.sha256(text).hexdigest() if key is None else hmac.new(key, text, "sha256").hexdigest()


def canonical(entry: Mapping[str, Any]) -> bytes:
    # ASCII, because UTF-8 cannot encode a lone surrogate.
    return json.dumps(entry, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


@dataclass(frozen=True, slots=True)
class Flaw:
    """A break of a chain. ``kind``: ``changed``, ``missing``, ``exchanged`` (a valid entry that does not follow
    the one before), ``cut`` (the topic has entries beyond the collection's end), ``differs`` (the topic has
    another entry in this place), ``unknown`` (an algorithm or key that cannot be checked), ``unkeyed`` (plain
    hashes, although there is a key: anyone with write access to the collection could have made them. At a chain's
    beginning they are older than the key, and the first entry with a key covers them)."""

    tenant: str
    sequence: int
    kind: str
    detail: str


_UNKEYED = (
    "from here on entries were made without KITH_AUDIT_KEY, by a service that lacks it or by "
    "another writer; if the key is new, the next entry with it covers those before"
)


def flaws(tenant: str, entries: Iterable[Entry], witnessed: Mapping[int, str], key: bytes | None) -> list[Flaw]:
    """The faults in the chain of a tenant. ``entries`` are in the order of their sequence; ``witnessed`` are the
    hashes in the topic, by sequence."""
    found: list[Flaw] = []
    expected, previous = 1, FIRST
    known: str | None = FIRST
    # Whether an entry with a key was seen, and the first plain entry that none covers.
    keyed, unkeyed = False, None
    for entry in entries:
        sequence = entry["sequence"]
        if sequence > expected:
            found += [_missing(tenant, expected, sequence - 1)]
            known = None
        if entry["algorithm"] == "hmac-sha256" and key is None:
            found.append(Flaw(tenant, sequence, "unknown", "it was made with KITH_AUDIT_KEY, which is not set"))
        elif entry["hash"] != hash_of(entry, None if entry["algorithm"] == "sha256" else key):
            found.append(Flaw(tenant, sequence, "changed", "its content does not have its hash"))
        elif known is not None and entry["previous"] != previous:
            found.append(Flaw(tenant, sequence, "exchanged", "it does not follow the entry before it"))
        if (seen := witnessed.get(sequence)) is not None and seen != entry["hash"]:
            found.append(Flaw(tenant, sequence, "differs", "the topic has another entry in this place"))
        if key is None or entry["algorithm"] != "sha256":
            keyed, unkeyed = True, unkeyed if keyed else None
        elif unkeyed is None:
            unkeyed = sequence
        expected, previous, known = sequence + 1, entry["hash"], entry["hash"]
    if unkeyed is not None:
        found.append(Flaw(tenant, unkeyed, "unkeyed", _UNKEYED))
    if beyond := [sequence for sequence in witnessed if sequence >= expected]:
        detail = f"the topic has entries up to {max(beyond)}, the collection ends before {expected}"
        found.append(Flaw(tenant, expected, "cut", detail))
    return found


def _missing(tenant: str, first: int, last: int) -> Flaw:
    which = f"entry {first}" if first == last else f"entries {first} to {last}"
    return Flaw(tenant, first, "missing", f"{which} cannot be found")
