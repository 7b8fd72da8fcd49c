"""Every route of every service has decided what it does for credentials that are bound to a purpose."""

import re

from services.exports.datasets import DATASETS
from services.exports.purposes import REASONS, decision_of
from shared.access.guard import Access
from shared.access.query import Parameters
from shared.http.purposes import GRANTED, IMPERSONAL, LEARNED, SUMS, UNDECIDED, WRITES
from shared.http.scopes import need_of, takes_any_parameter
from tests.support.routes import PUBLIC, api_routes, bare

#: What a path or a parameter names where an answer is about consumers.
_CONSUMERS = re.compile("consumer|relation|recommend|similar|affinity")
ROUTES = [(service, route) for service, app in bare(Access()).items() for route in api_routes(app)]


def test_no_route_is_without_a_decision() -> None:
    for service, route in ROUTES:
        assert need_of(route.endpoint).purpose is not UNDECIDED, (
            f"{service} {route.path}: say in needs(…, purpose=…) what it does for a credential that is bound to a "
            "purpose (shared/http/purposes.py)"
        )


def test_a_route_with_the_parameter_applies_the_purpose_of_the_credential_or_is_refused() -> None:
    asked = 0
    for service, route in ROUTES:
        decision = need_of(route.endpoint).purpose
        takes = "purpose" in Parameters(route.dependant).query or takes_any_parameter(route.endpoint)
        if decision in (GRANTED, LEARNED):
            assert takes, (service, route.path, "is asked for a purpose that it does not take")
            asked += 1
        elif "purpose" in Parameters(route.dependant).query and not route.path.startswith("/v1/export/"):
            assert not decision.admits, (
                service,
                route.path,
                "takes a purpose, and does not apply the credential's",
            )
    assert asked > 8


def test_what_holds_nothing_of_consumers_does_not_name_them() -> None:
    for service, route in ROUTES:
        if need_of(route.endpoint).purpose is IMPERSONAL and route.path not in PUBLIC:
            assert not _CONSUMERS.search(route.path), (service, route.path)
        if need_of(route.endpoint).purpose is WRITES:
            assert "GET" not in (route.methods or ()), (service, route.path)


def test_every_dataset_of_exports_has_a_decision() -> None:
    for dataset in DATASETS.values():
        assert (decision_of(dataset) is GRANTED) == (dataset.name not in REASONS), dataset.name
        assert (decision_of(dataset) is SUMS) == dataset.partials, dataset.name
