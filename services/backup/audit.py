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


@dataclass
class Recovered:
    """What was recovered, by tenant: the entries added from the topic, and the numbers of those that nobody has
    any more. And the prefixes of the API keys that were revoked after the backup was taken."""

    entries: dict[str, list[Entry]] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    revoked: list[str] = field(default_factory=list)


class _Copies:
    """The entries in the topic, by tenant and number; of several for one place the first, which is older."""

    def __init__(self, heads: Mapping[str, tuple[int, str]]) -> None:
        self._heads = heads
        self.entries: dict[str, dict[int, Entry]] = {}

    def take(self, value: bytes | None) -> bool:
        """Keep an entry beyond the end of the restored chain. Always False, so that the scan keeps no message."""
        try:
            entry = json.loads(value or b"")
            tenant, sequence = str(entry["tenant"]), int(entry["sequence"])
        except (ValueError, TypeError, KeyError):
            return False  # not written by Kith
        if sequence > self._heads.get(tenant, (0, FIRST))[0]:
            self.entries.setdefault(tenant, {}).setdefault(sequence, entry)
        return False


def recover_audit(settings: Settings, database: Database[Document], key: bytes | None) -> Recovered:
    """Add the entries that the topic has beyond the end of each restored chain, as far as they follow it. Raises
    Unavailable."""
    log = MongoAuditLog(database)
    heads = {tenant: log.head(tenant) for tenant in log.tenants()}
    copies = _Copies(heads)
    with LogScan(settings) as scan:
        scan.read(scan.bounds([Topics(settings.topic_prefix).name(AUDIT)]), copies.take)
    found = Recovered()
    for tenant, beyond in sorted(copies.entries.items()):
        entries = following(heads.get(tenant, (0, FIRST)), beyond, key)
        for start in range(0, len(entries), _BATCH):
            log.append(entries[start : start + _BATCH])
        found.entries[tenant] = entries
        found.revoked += revoked_in(beyond.values(), key)
        end = heads.get(tenant, (0, FIRST))[0] + len(entries)
        if max(beyond) > end:
            found.lost[tenant] = max(beyond) - end
    return found


def following(head: tuple[int, str], beyond: Mapping[int, Entry], key: bytes | None) -> list[Entry]:
    """Returns those of the entries ``beyond`` a chain's end that continue it without a gap, and have their hash.
    One that was made with a key is taken on trust where this process has none."""
    sequence, previous = head
    found: list[Entry] = []
    while (entry := beyond.get(sequence + 1)) is not None and entry.get("previous") == previous:
        if not _is_whole(entry, key):
            break
        found.append(entry)
        sequence, previous = sequence + 1, entry["hash"]
    return found


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
        act = Act(tenant, who, "command", "database.restore", {"moment": moment}, (), details)
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
