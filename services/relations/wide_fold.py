"""The relationships of a slice in their stored form: one document, or a head and documents of cells. Pure."""

from collections.abc import Generator, Sequence

from services.relations.mass import Mass, stored_mass
from services.relations.span import Times
from services.relations.strength import Strength
from services.relations.tally import Tally
from services.relations.wide import CELLS, WideTally, add_mass, cells_id, cells_prefix, split
from shared.runtime.protocols import Answer, Ask, Document, Get, GetByPrefix, GetReduced, Write

_NOTHING: list[Write] = []


def narrow(
    tally: Tally, times: Times | None, strength: Strength, most_cells: int
) -> tuple[Document | None, Sequence[Write]]:
    """A pair that was not wide before: its document, and its cells if it becomes wide."""
    if not tally.count or not times:
        return None, _NOTHING
    kinds = tally.kinds()
    # Each cell has a fact, so nearly all pairs need no counting of cells.
    if tally.count > most_cells and sum(map(len, kinds.values())) > most_cells:
        head, writes = split(tally, kinds, strength)
        return tally.document(times, head), writes
    return tally.document(times, {"kinds": kinds, "score": strength.score(kinds)}), _NOTHING


def wide_writes(
    tallies: Sequence[tuple[Tally, Times | None]], strength: Strength, most_cells: int
) -> Generator[Ask, Answer, list[Write]]:
    """What becomes of pairs that were wide before. Heads come first: their guard protects the cells, too."""
    ids = {cells_id(tally.id, kind, month[:4]) for tally, _ in tallies for kind, month in tally.moved}
    stored = (yield Get({CELLS: ids}))[CELLS]
    heads: list[Write] = []
    cells: list[Write] = []
    for tally, times in tallies:
        assert tally.old is not None
        wide = WideTally(tally, stored)
        after: Document | None = None
        if not tally.count or not times:
            cells += wide.writes()
        elif wide.cells > most_cells:
            mass = stored_mass(tally.old["mass"], strength)
            if mass is None:  # Made with other settings: once more from all of its cells, one after the other.
                asked = GetReduced(CELLS, [cells_prefix(tally.id)], lambda: Mass(strength), add_mass)
                [mass] = yield asked
            after = tally.document(times, wide.head(mass))
            cells += wide.writes()
        else:
            [all_cells] = yield GetByPrefix(CELLS, [cells_prefix(tally.id)], tally.old["cells"])
            kinds, deletions = wide.joined(all_cells)
            after = tally.document(times, {"kinds": kinds, "score": strength.score(kinds)})
            cells += deletions
        if after != tally.old:
            heads.append(Write("relationships", tally.id, tally.old, after))
    return heads + cells
