"""The clock of every process. What is told the time by it can be given another one in a test."""

from datetime import UTC, datetime


def now() -> datetime:
    return datetime.now(UTC)
