"""The moment as of which a file states its rows: the version of events whose rows have no time of change."""

from collections.abc import Mapping as Map
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from services.importer.mapping import Mapping, MappingError, Source
from shared.contracts.events import EPOCH, microseconds

#: Maps an undoing event type to the type that it undoes: within one import, the undoing file counts as not older.
_UNDOES = {
    "relation.retracted": "relation.recorded",
    "provider.closed": "provider.upserted",
    "consumer.erased": "consumer.upserted",
}
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUV"


@dataclass(frozen=True, slots=True)
class Moment:
    """``time``, its ``origin`` in words, and ``sequence``, which orders the events of one time: the row's
    number is added to it. A retraction that says itself when it was changed counts as not older than ``least``."""

    time: datetime
    origin: str
    sequence: str
    least: datetime = EPOCH

    def of_row(self, number: int) -> str:
        """The CloudEvents attribute ``sequence`` of a row. Among events of one time, the later file wins, then the
        later mapping, then the undoing event, then the later source, then the later row."""
        return f"{self.sequence}-{_base32(number, 7)}"


def moments(
    mapping: Mapping, path: Path, given: datetime | None, arrived: datetime, ahead: timedelta
) -> Map[str, Moment]:
    """The moment of each source, by name. ``given`` applies to all. Raises MappingError for a moment in the
    future: its events would outrank all others for ever."""
    found: dict[str, tuple[datetime, str]] = {}
    least: dict[str, datetime] = {}
    for source in sorted(mapping.source, key=lambda source: source.type in _UNDOES):
        time, origin = _moment(source, given)
        undone = [other for other in mapping.source if other.type == _UNDOES.get(source.type)]
        retracts = source.type == "relation.retracted"
        # A profile may be stated again after it was closed or erased, a fact after its retraction is not.
        if retracts or (source.as_of is None and given is None):
            for other in undone:
                if found[other.name][0] > time:
                    time, origin = found[other.name]
        # What retracts a row that does not say when it was changed, says so as of the file of that row: at its own
        # time, it would lose against it.
        least[source.name] = max(
            (found[other.name][0] for other in undone if retracts and other.changed is None), default=EPOCH
        )
        if time - arrived > ahead:
            raise MappingError(f"{source.path}: {origin}, {time.isoformat()}, is in the future: state as_of")
        if time < EPOCH:
            raise MappingError(f"{source.path}: {origin}, {time.isoformat()}, is before 1970: state as_of")
        found[source.name] = time, origin
    corrected = _base32(microseconds(modified(path)), 11)
    return {
        source.name: Moment(
            *found[source.name],
            f"{_base32(microseconds(found[source.name][0]), 11)}-{corrected}-"
            f"{int(source.type in _UNDOES)}{_base32(number, 2)}",
            least[source.name],
        )
        for number, source in enumerate(mapping.source)
    }


def _moment(source: Source, given: datetime | None) -> tuple[datetime, str]:
    if given is not None:
        return given.astimezone(UTC), "--as-of"
    if source.as_of is not None:
        return source.as_of, "as_of in the mapping"
    files = [source.path, *(collect.path for collect in source.collect.values())]
    # SQLite keeps the latest writes in a file beside the database until a checkpoint.
    wals = [(real := file.resolve()).with_name(f"{real.name}-wal") for file in files]
    files += [wal for wal in wals if wal.exists() and wal.stat().st_size]
    last = max(files, key=modified)
    return modified(last), f"modification time of {last.name}"


def modified(path: Path) -> datetime:
    """Raises MappingError for a time that no file system should hold."""
    try:
        return EPOCH + timedelta(microseconds=path.stat().st_mtime_ns // 1_000)
    except OSError:
        return datetime.now(UTC)  # reading the file will raise the error
    except OverflowError:
        raise MappingError(f"{path}: its modification time is outside of the years 1 to 9999") from None


def _base32(number: int, width: int) -> str:
    """Digits and letters whose order as text is the order of the numbers."""
    digits = ""
    for _ in range(width):
        number, digit = divmod(number, 32)
        digits = _DIGITS[digit] + digits
    return digits
