"""What a sink implements: a target, which applies the effects of slices to another system. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from shared.runtime.protocols import Claim, Progress

E_contra = TypeVar("E_contra", contravariant=True)


class Row(NamedTuple):
    """The effect of sinks that have tables: a row as it is from now on. ``values`` are all of its other columns,
    None: there is no such row."""

    table: str
    key: tuple[str | int, ...]
    values: Mapping[str, Any] | None


class Target(Protocol[E_contra]):
    """The other system, as one process of a sink uses it. Thread-safe: several partitions are applied at once, but
    never two slices of one partition.

    A crash between ``apply`` and the position repeats a slice, perhaps cut differently, and a worker that has lost
    its partition may apply a slice late. So an effect is the whole state of something, or carries its number; and
    what an older claim applies must have no effect once there is a newer one, or be recognised by its number.
    """

    def claimed(self, claim: Claim) -> Progress | None:
        """Prepare for the effects of a new claim, and fence those of older ones where the system can. Called
        before the first ``apply``. The claim may be void already: it is checked afterwards, so a number that is
        taken here is higher than those of all claims before, if the claim is good.

        Returns the progress that the system itself has stored with the effects, which need not be the latest that
        Kith knows; ``Progress()`` where it stores progress and has none yet, None where it stores none. Raises
        Unavailable, and Fenced."""

    def apply(self, claim: Claim, after: Progress, effects: Sequence[E_contra]) -> None:
        """Apply the effects of a slice, in order, and return once the system has them for good. A system with
        transactions stores ``after`` in the same one. Raises Unavailable when some may be missing, Fenced when a
        newer claim is known, and any other error when a retry cannot help."""
