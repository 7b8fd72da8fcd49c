"""The timestamps of writes: ``number << 20 | sequence``. Pure.

Of two writes to a cell, Cassandra keeps the one with the higher timestamp, whenever they arrive. A number is taken
from one counter of the whole sink *before* the documents are read that the rows are made of; the sequence counts
the writes of a number. So no two writes have the same timestamp, and a write that wins contains all that a write
that loses has seen: whoever took its number later has read later. A worker that has lost its partition, a retry
after a timeout, a slice that is done again, a rebuild and a key that has moved to another partition need no other
fence (docs/why/decisions.md).
"""

#: Bits of the sequence; the number has the other 43.
SEQUENCE_BITS = 20
MOST_WRITES = 1 << SEQUENCE_BITS
MOST_NUMBER = (1 << (63 - SEQUENCE_BITS)) - 1


def timestamp(number: int, sequence: int) -> int:
    """The timestamp of a write: positive, and below 2^63. Raises ValueError beyond either limit, because the parts
    would run into each other."""
    if not 0 < number <= MOST_NUMBER:
        raise ValueError(f"the number {number} is not between 1 and {MOST_NUMBER}")
    if not 0 <= sequence < MOST_WRITES:
        raise ValueError(f"a number has at most {MOST_WRITES} writes")
    return number << SEQUENCE_BITS | sequence


def next_number(last: int, milliseconds: int) -> int:
    """The number after ``last``. It is never below the clock, so that the numbers of a counter that was restored
    from a backup, or made anew, are above all that were given before. (Their writes would lose in silence.)"""
    return max(last + 1, milliseconds)
