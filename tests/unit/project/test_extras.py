"""Each service's image carries what the service imports: the extras of its row in the table of services."""

import sys
import tomllib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import distribution, packages_distributions

import grimp
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from shared.contracts.services import EVERYWHERE, SERVICES
from tests.support.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
#: In no image: the setting that chooses this client says which extra it needs.
CHOSEN = {"confluent_kafka"}
#: What a process starts by its name, so that the graph of imports does not lead there.
STARTED = {
    "relations": ["services.relations.measures"],
    "analytics": ["services.analytics.measures"],
    "exports": ["services.exports.native_writer"],
}


@cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("services", "shared", include_external_packages=True)


@cache
def installed_by(requirement: str) -> frozenset[str]:
    """The distributions that come with a requirement, itself included."""
    stated = Requirement(requirement)
    found, left = set(), [(canonicalize_name(stated.name), frozenset(stated.extras))]
    seen = set(left)
    while left:
        name, extras = left.pop()
        found.add(name)
        for text in distribution(name).requires or ():
            one = Requirement(text)
            wanted = one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in (*extras, ""))
            each = (canonicalize_name(one.name), frozenset(one.extras))
            if wanted and each not in seen:
                seen.add(each)
                left.append(each)
    return frozenset(found)


def carried(extras: Iterable[str]) -> set[str]:
    """The distributions of an image with these extras."""
    requirements = [*PROJECT["dependencies"], *(r for e in extras for r in PROJECT["optional-dependencies"][e])]
    return set().union(*map(installed_by, requirements))


def imported(service: str) -> set[str]:
    """The distributions that a service's process imports, in functions, too."""
    roots = [f"services.{service}.__main__", *STARTED.get(service, ())]
    # A package that is started is its __main__.
    roots += [each for root in roots if (each := f"{root}.__main__") in graph().modules]
    reached = set(roots).union(*(graph().find_upstream_modules(root) for root in roots))
    outside = {name for name in reached if graph().is_module_squashed(name)} - sys.stdlib_module_names - CHOSEN
    known = packages_distributions()
    return {canonicalize_name(known[name][0]) for name in outside}


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_carries_what_its_service_imports(service: str) -> None:
    extras = (*EVERYWHERE, *SERVICES[service].extras)
    assert imported(service) - carried(extras) == set(), "shared/contracts/services.py: extras"


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_carries_no_extra_of_which_its_service_imports_nothing(service: str) -> None:
    unused = [
        extra
        for extra in SERVICES[service].extras
        if not {canonicalize_name(Requirement(r).name) for r in PROJECT["optional-dependencies"][extra]}
        & imported(service)
    ]
    assert unused == []


def test_the_door_carries_nothing_of_the_others() -> None:
    heavy = {"pantab", "pyarrow", "numpy", "scipy", "networkit", "cassandra-driver", "aiohttp", "psycopg"}
    everything = carried([*EVERYWHERE, *(extra for spec in SERVICES.values() for extra in spec.extras)])
    assert heavy <= everything
    assert not heavy & carried(EVERYWHERE)
    assert SERVICES["ingest"].extras == ()
