"""The audit's chain: every entry holds the hash of the one before, tenant by tenant. Pure.

What it proves: entries 1 to n of a tenant are what they were when entry n was written, if n's hash is known from
elsewhere (the topic ``kith.audit``, a note, another entry). A changed, missing or exchanged entry shows.
What it cannot prove: with plain SHA-256, whoever may write the collection can compute a chain anew, and only what
was kept elsewhere contradicts it; with HMAC (KITH_AUDIT_KEY) they need the key as well. Entries cut off the end
show only as far as the topic has them. And that an act was recorded at all is the services' word.
"""

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Entry = dict[str, Any]

#: The chain of acts that are about no tenant, but about the installation. No tenant can have this name.
INSTALLATION = "*"
FIRST = ""


@dataclass(frozen=True, slots=True)
class Act:
    """Something that is to be on record. Neither ``subject`` nor ``details`` may hold a personal value.

    ``who`` is a name for people, ``key`` the credential (Caller.key); ``action`` is a short stable code such as
    ``personal.read`` or ``keys.revoke``; ``subject`` says what it was done to, ``fields`` which fields were shown.
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


def hash_of(entry: Mapping[str, Any], key: bytes | None) -> str:
    """Over everything but the hash itself, as JSON without spaces and with sorted names."""
    text = canonical({name: value for name, value in entry.items() if name != "hash"})
    return hashlib.sha256(text).hexdigest() if key is None else hmac.new(key, text, "sha256").hexdigest()


def canonical(entry: Mapping[str, Any]) -> bytes:
    # ASCII: a lone surrogate, which no UTF-8 can hold, is then no problem.
    return json.dumps(entry, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


@dataclass(frozen=True, slots=True)
class Flaw:
    """Where a chain is broken. ``kind``: ``changed``, ``missing``, ``exchanged`` (an entry that is good in itself
    but does not follow the one before), ``cut`` (the topic has entries beyond the collection's end), ``differs``
    (the topic has another entry in this place), ``unknown`` (an algorithm or key that cannot be checked),
    ``unkeyed`` (plain hashes, although there is a key: whoever may write the collection could have made them. At a
    chain's beginning they are from before there was a key, and the first entry with one vouches for them)."""

    tenant: str
    sequence: int
    kind: str
    detail: str


_UNKEYED = (
    "from here on there are entries that were made without KITH_AUDIT_KEY, by a service that lacks it or by "
    "somebody else; where the key is new, the next entry vouches for those before it"
)


def flaws(tenant: str, entries: Iterable[Entry], witnessed: Mapping[int, str], key: bytes | None) -> list[Flaw]:
    """What is wrong with the chain of a tenant. ``entries`` in the order of their sequence, ``witnessed`` the
    hashes that the topic has, by sequence."""
    found: list[Flaw] = []
    expected, previous = 1, FIRST
    known: str | None = FIRST
    # Whether there was an entry with a key, and the first plain one that none vouches for.
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
