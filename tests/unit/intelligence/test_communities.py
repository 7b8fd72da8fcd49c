"""What is shown of communities tells no number of a provider's consumers below five."""

from itertools import combinations_with_replacement

from hypothesis import given
from hypothesis import strategies as st

from services.intelligence.community_routes import _community
from services.intelligence.engine.graph import Graph
from services.intelligence.engine.snapshot import Snapshot
from services.intelligence.job import SHOWN, described
from services.intelligence.state import Tenant
from shared.http.caller import INTELLIGENCE_READ, Caller
from shared.runtime.protocols import Document

CALLER = Caller("default", frozenset({INTELLIGENCE_READ}))
ONCE = {"purchase": {"2026-01": {"count": 1}}}


def shown(providers: dict[str, range]) -> list[Document]:
    """Communities of providers, each with the consumers of these numbers."""
    rows = [(f"c{n}", provider, ONCE, None) for provider, numbers in providers.items() for n in numbers]
    figures = Snapshot.of(Graph.build(rows)).figures(5)
    return [_community(CALLER, Tenant(), each) for each in described(figures, {})]


def test_a_provider_with_few_consumers_that_is_a_community_is_not_counted() -> None:
    large, solo = shown({**{f"p{n}": range(8) for n in range(3)}, "solo": range(100, 103)})
    assert (large["consumers"], large["providers"], large["inside"], large["outside"]) == (8, 3, 24, 0)
    assert (solo["consumers"], solo["providers"], solo["inside"]) == ("few", 1, "few")
    assert solo["strongest"] == [{"side": "provider", "id": "solo", "inside": "few"}]


def stored(counts: list[int]) -> Document:
    """A community whose providers have so many consumers in it, of whom one knows them all."""
    counts = sorted(counts, reverse=True)
    strongest = [{"id": f"p{n}", "inside": count} for n, count in enumerate(counts[:SHOWN])]
    figures = {"consumers": counts[0], "providers": len(counts), "inside": sum(counts), "outside": 3}
    return {"id": "0", **figures, "strongest": strongest, "categories": [], "places": []}


def test_the_relationships_within_do_not_tell_what_is_left_for_a_provider() -> None:
    found = _community(CALLER, Tenant(), stored([9, 9, 3]))
    assert [each["inside"] for each in found["strongest"]] == [9, 9, "few"]
    assert (found["consumers"], found["inside"], found["outside"]) == (9, "few", "few")
    assert _community(CALLER, Tenant(), stored([9, 9, 5]))["inside"] == 23
    many = _community(CALLER, Tenant(), stored([9, 8, 7, 6, 6, *[2] * 100]))
    assert (many["inside"], many["outside"]) == (236, 3)


def test_a_community_without_providers_is_shown() -> None:
    alone = {"id": "0", "consumers": 7, "providers": 0, "inside": 0, "outside": 9, "strongest": []}
    found = _community(CALLER, Tenant(), {**alone, "categories": [], "places": []})
    assert (found["consumers"], found["inside"], found["outside"], found["strongest"]) == (7, 0, 9, [])


@given(st.lists(st.integers(1, 9), min_size=1, max_size=11))
def test_the_number_within_is_shown_exactly_where_no_number_below_five_follows_from_it(counts: list[int]) -> None:
    found = _community(CALLER, Tenant(), stored(counts))
    listed = [each["inside"] for each in found["strongest"]]
    shown = [each for each in listed if each != "few"]
    most, few = (4, len(listed) - len(shown)) if "few" in listed else (min(listed), 0)
    hidden, rest = found["providers"] - len(shown), sum(counts) - sum(shown)
    # In descending order: those that are listed first, in this order, and all others together.
    values = range(most, 0, -1)
    possible = [each for each in combinations_with_replacement(values, hidden) if sum(each) == rest]
    known = [{each[place] for each in possible} for place in range(few)]
    if hidden > few:
        known.append({count for each in possible for count in each[few:]})
    told = any(len(each) == 1 and min(each) < 5 for each in known)
    assert (found["inside"] == "few") is (told or max(counts) < 5)
