"""Holds the audit against itself and against the topic. Pure."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from shared.access.audit import AuditLog
from shared.access.chain import Entry, Flaw, flaws


@dataclass(frozen=True, slots=True)
class Verdict:
    """By tenant how many entries there are and how many of the topic, and what is wrong."""

    entries: dict[str, int]
    witnessed: dict[str, int]
    flaws: list[Flaw]


class Witnessed:
    """What the topic says: ``hashes`` by tenant, then by sequence. Where it says two things of one place, the
    first counts, for it was there before."""

    def __init__(self) -> None:
        self.hashes: dict[str, dict[int, str]] = {}

    def take(self, value: bytes | None) -> bool:
        """Look at a message. False, whatever it was: a filter that keeps none."""
        try:
            entry = json.loads(value or b"")
            hash, sequence = str(entry["hash"]), int(entry["sequence"])
            self.hashes.setdefault(str(entry["tenant"]), {}).setdefault(sequence, hash)
        except (ValueError, TypeError, KeyError):
            pass  # not Kith's: nobody else is to write there, and what they write vouches for nothing
        return False


def verify(
    audit_log: AuditLog, seen: Mapping[str, Mapping[int, str]], key: bytes | None, tenant: str | None = None
) -> Verdict:
    """Every chain, or that of ``tenant``. ``seen``: Witnessed.hashes. Raises Unavailable."""
    verdict = Verdict({}, {}, [])
    for name in sorted({*audit_log.tenants(), *seen}):
        if tenant not in (None, name):
            continue
        verdict.entries[name] = 0
        verdict.witnessed[name] = len(seen.get(name, {}))

        def counted(name: str = name) -> Iterator[Entry]:
            for entry in audit_log.entries(name):
                verdict.entries[name] += 1
                yield entry

        verdict.flaws.extend(flaws(name, counted(), seen.get(name, {}), key))
    return verdict
