"""Compares the audit with its own hashes and with the topic. Pure."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from shared.access.audit import AuditLog
from shared.access.chain import Entry, Flaw, flaws


@dataclass(frozen=True, slots=True)
class Verdict:
    """Per tenant the number of entries, the number in the topic, and the faults found."""

    entries: dict[str, int]
    witnessed: dict[str, int]
    flaws: list[Flaw]


class Witnessed:
    """The content of the topic: ``hashes`` by tenant, then by sequence. If it contains two messages for one place,
    the first one counts, because it is older."""

    def __init__(self) -> None:
        self.hashes: dict[str, dict[int, str]] = {}

    def take(self, value: bytes | None) -> bool:
        """Process a message. Always False, so that it serves as a filter that keeps none."""
        try:
            entry = json.loads(value or b"")
            hash, sequence = str(entry["hash"]), int(entry["sequence"])
            self.hashes.setdefault(str(entry["tenant"]), {}).setdefault(sequence, hash)
        except (ValueError, TypeError, KeyError):
            pass  # not written by Kith: a foreign message proves nothing
        return False


def verify(
    audit_log: AuditLog, seen: Mapping[str, Mapping[int, str]], key: bytes | None, tenant: str | None = None
) -> Verdict:
    """Verify all chains, or that of ``tenant``. ``seen``: Witnessed.hashes. Raises Unavailable."""
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
