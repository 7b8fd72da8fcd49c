"""After a restore: the entries of the audit that the topic has kept, and an entry where the chain goes on."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pymongo.database import Database

from services.explain.log import LogScan
from shared.access.audit_factory import NO_KEY
from shared.access.audit_mongo import MongoAuditLog
from shared.access.chain import FIRST, INSTALLATION, Act, Entry, entry_of, hash_of, is_keyed
from shared.contracts.errors import ConfigurationError
from shared.contracts.topics import AUDIT, Topics
from shared.runtime.protocols import Document
from shared.settings import Settings

_BATCH = 500
#: The action of a restore's own entry.
RESTORED = "database.restore"


@dataclass
class Recovered:
    """What was recovered, by tenant: the entries added from the topic, and the numbers of those that nobody has
    any more. And the prefixes of the API keys that were revoked after the backup was taken."""

    entries: dict[str, list[Entry]] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    revoked: list[str] = field(default_factory=list)


class Kept:
    """The entries in the topic beyond the ends of the backup's chains, ``heads``, by tenant and number; of several
    for one place the first, which is older. ``following`` are those that continue a chain, once all are taken."""

    def __init__(self, heads: Mapping[str, tuple[int, str]]) -> None:
        self._heads = heads
        self.entries: dict[str, dict[int, Entry]] = {}
        self.following: dict[str, list[Entry]] = {}

    def head(self, tenant: str) -> tuple[int, str]:
        """Number and hash of the last entry in the backup."""
        return self._heads.get(tenant, (0, FIRST))

    def follow(self, key: bytes | None) -> None:
        """Find the entries that continue a chain. Raises ConfigurationError where one was made with a key, or the
        last that the topic has, and there is none here: a key may have been introduced after the backup."""
        for tenant, beyond in self.entries.items():
            self.following[tenant] = following(self.head(tenant), beyond, key)
            # What is added, and the last of all: beyond a gap it is not added, but says what the services have.
            check_audit_key(self.following[tenant], key)
            check_audit_key([beyond[max(beyond)]], key)

    def take(self, value: bytes | None) -> bool:
        """Keep an entry beyond the end of a chain. Always False, so that the scan keeps no message."""
        try:
            entry = json.loads(value or b"")
            tenant, sequence = str(entry["tenant"]), int(entry["sequence"])
        except (ValueError, TypeError, KeyError):
            return False  # not written by Kith
        if sequence > self.head(tenant)[0]:
            self.entries.setdefault(tenant, {}).setdefault(sequence, entry)
        return False


def kept_audit(settings: Settings, entries: Iterable[Mapping[str, Any]], key: bytes | None) -> Kept:
    """The entries that the topic has beyond those of the backup, ``entries``, which are in order. Raises
    ConfigurationError where a chain is made with a key, and there is none here; and Unavailable."""
    ends = {str(entry["tenant"]): entry for entry in entries}
    check_audit_key(ends.values(), key)
    kept = Kept({tenant: (end["sequence"], end["hash"]) for tenant, end in ends.items()})
    with LogScan(settings) as scan:
        scan.read(scan.bounds([Topics(settings.topic_prefix).name(AUDIT)]), kept.take)
    kept.follow(key)
    return kept


def recover_audit(database: Database[Document], kept: Kept, key: bytes | None) -> Recovered:
    """Add the entries ``kept`` to the restored chains, as far as they follow. Raises Unavailable."""
    log = MongoAuditLog(database)
    found = Recovered()
    for tenant, beyond in sorted(kept.entries.items()):
        entries = kept.following[tenant]
        for start in range(0, len(entries), _BATCH):
            log.append(entries[start : start + _BATCH])
        found.entries[tenant] = entries
        found.revoked += revoked_in(beyond.values(), key)
        end = entries[-1]["sequence"] if entries else kept.head(tenant)[0]
        if max(beyond) > end:
            found.lost[tenant] = max(beyond) - end
    return found


def following(head: tuple[int, str], beyond: Mapping[int, Entry], key: bytes | None) -> list[Entry]:
    """Returns those of the entries ``beyond`` a chain's end that continue it, and have their hash. There is a gap
    only before the entry of an earlier restore, which says how many were lost then. One that was made with a key
    is taken on trust where this process has none."""
    sequence, previous = head
    # Of two that follow the same entry the later one: it is of a restore, after which nothing followed the other.
    next_of = {str(entry.get("previous")): entry for _, entry in sorted(beyond.items())}
    found: list[Entry] = []
    while (entry := next_of.get(previous)) is not None and _is_whole(entry, key):
        if entry["sequence"] != sequence + 1 + _lost_before(entry):
            break
        found.append(entry)
        sequence, previous = entry["sequence"], entry["hash"]
    return found


def _lost_before(entry: Entry) -> int:
    """How many entries an earlier restore found lost before its own."""
    return int(entry["details"].get("lost", 0)) if entry.get("action") == RESTORED else 0


def _is_whole(entry: Entry, key: bytes | None) -> bool:
    """Whether an entry has its hash, as far as that can be checked."""
    keyed = is_keyed(entry)
    return (keyed and key is None) or entry.get("hash") == hash_of(entry, key if keyed else None)


def check_audit_key(entries: Iterable[Mapping[str, Any]], key: bytes | None) -> None:
    """Raise ConfigurationError where a chain of the backup ends with an entry that has a key, and there is none
    here: the entry of the restore would break it for good. ``entries`` are in order."""
    last = {str(entry["tenant"]): is_keyed(entry) for entry in entries} if key is None else {}
    if any(last.values()):
        raise ConfigurationError(NO_KEY)


def record_restore(
    database: Database[Document], recovered: Recovered, moment: str, who: str, now: datetime, key: bytes | None
) -> list[Entry]:
    """Record the restore in the installation's chain, and in each chain that has lost entries. There it takes the
    number after the last lost one, so that `kith audit verify` names exactly what is missing. Returns the
    entries. Raises Unavailable."""
    log = MongoAuditLog(database)
    written = []
    for tenant in sorted({INSTALLATION, *recovered.lost}):
        sequence, previous = log.head(tenant)
        lost = recovered.lost.get(tenant, 0)
        details: dict[str, str | int] = {"lost": lost, "recovered": len(recovered.entries.get(tenant, ()))}
        act = Act(tenant, who, "command", RESTORED, {"moment": moment}, (), details)
        written.append(entry_of(act, now, sequence + lost + 1, previous, key))
        log.append(written[-1:])
    return written


def revoked_in(entries: Iterable[Entry], key: bytes | None) -> list[str]:
    """The prefixes of the API keys that these entries revoke. They need not follow the restored chain: a key whose
    revocation is known stays revoked, even if an entry before it is lost. A wrong hash makes an entry void."""
    return [
        str(entry["subject"]["key"])
        for entry in entries
        if entry.get("action") == "keys.revoke" and "key" in entry.get("subject", ()) and _is_whole(entry, key)
    ]
