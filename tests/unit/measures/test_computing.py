"""Measures that another process computes: the same query, the same answer, the same errors."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI
from pydantic import ValidationError

from services.analytics.measures import catalogue as analytics
from services.relations.measures import catalogue as relations
from shared.access.routes import secure
from shared.contracts.errors import TooSlow, Unavailable, WrongMasterKey
from shared.http.server import add_problem_handlers
from shared.measures.computing import ComputationFailed, Elsewhere, answering, here
from shared.measures.http import add_measures
from shared.measures.query import BadMeasure, NotInstalled, PeriodQuery
from shared.measures.spec import Measure
from shared.runtime.children import ChildEnded, ChildTooSlow
from shared.runtime.interruption import Interrupted
from tests.support.builders import OPEN

ALL: list[Measure[Any]] = [*analytics.MEASURES, *relations.MEASURES]
PERIOD = {"from": "2026-10-01", "to": "2026-11-22"}
#: Parameters of one measure or more, each with a value that is not its default.
VALUES: dict[str, Any] = {
    "kind": "purchase",
    "category": "café",
    "provider_id": "p/1",
    "currency": "EUR",
    "unit": "month",
}
VALUES |= {"limit": 7, "segment": "champions", "discount": 0.1, "risk_from": 0.30000000000000004, "lowest": 1}
VALUES |= {"side": "provider", "level": "city", "by": "risk", "horizon_weeks": 9, "highest": 9, "positive_from": 5}


def queries(measure: Measure[Any]) -> Iterator[PeriodQuery]:
    """Without parameters, with a period, and with all parameters that can be had together."""
    yield measure.query()
    given: dict[str, Any] = dict(PERIOD)
    yield measure.query.model_validate(given)
    for name in (field.alias or name for name, field in measure.query.model_fields.items()):
        with suppress(ValidationError):
            measure.query.model_validate(given := {**given, name: VALUES[name]} if name in VALUES else given)
            continue
        del given[name]
    yield measure.query.model_validate(given)


@pytest.mark.parametrize("measure", ALL, ids=lambda measure: f"{measure.answer.__module__}-{measure.name}")
def test_a_query_arrives_as_it_was_sent(measure: Measure[Any]) -> None:
    arrived: list[tuple[str, PeriodQuery]] = []

    def run(source: str, asked: PeriodQuery) -> Any:
        arrived.append((source, asked))
        raise Interrupted

    noting = Measure(measure.name, measure.query, measure.answer, run)
    sent = list(queries(measure))
    for query in sent:
        with pytest.raises(Interrupted):
            Elsewhere(answering([noting], str))(noting, "acme", query)
    assert arrived == [("acme", query) for query in sent]
    assert [query.model_fields_set for _, query in arrived] == [query.model_fields_set for query in sent]


def failing(error: BaseException) -> Any:
    def source(_: str) -> Any:
        raise error

    return source


ACTIVITY = next(measure for measure in ALL if measure.name == "activity")


@pytest.mark.parametrize(
    "error",
    [
        BadMeasure("from", "is too early"),
        NotInstalled("needs numpy"),
        WrongMasterKey("no key"),
        TooSlow("slow"),
        Unavailable("down"),
        Interrupted(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_arrives_as_itself(error: Exception) -> None:
    with pytest.raises(type(error)) as raised:
        Elsewhere(answering([ACTIVITY], failing(error)))(ACTIVITY, "acme", ACTIVITY.query())
    assert type(raised.value) is type(error)
    assert vars(raised.value) == vars(error)
    assert str(raised.value) == str(error)


def test_an_unexpected_error_is_logged_there_and_names_no_value(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(ComputationFailed) as raised:
        Elsewhere(answering([ACTIVITY], failing(KeyError("anna@example.org"))))(ACTIVITY, "acme", ACTIVITY.query())
    assert "anna" not in str(raised.value)
    assert "KeyError" in caplog.text


def answered(ask: Any) -> httpx.Response:
    app = FastAPI()
    add_problem_handlers(app)
    secure(app, OPEN)
    add_measures(app, [ACTIVITY], Elsewhere(ask), "analytics:read")

    async def story() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://kith") as client:
            return await client.get("/v1/measures/activity")

    return asyncio.run(story())


@pytest.mark.parametrize(
    ("ask", "detail"),
    [
        (failing(ChildEnded("was ended by the signal SIGKILL")), "was ended by the signal SIGKILL"),
        (failing(ChildTooSlow("took longer than it may, and was ended")), "took longer than it may"),
        (answering([ACTIVITY], failing(MemoryError())), "needed more memory than it may have"),
    ],
)
def test_a_process_that_was_ended_is_503_and_says_what_to_do(ask: Any, detail: str) -> None:
    answer = answered(ask)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "5"
    assert answer.json()["type"] == "/problems/computation-ended"
    assert answer.json()["detail"].startswith(f"the process that computes the answer {detail}")


def test_a_fault_is_500() -> None:
    answer = answered(answering([ACTIVITY], failing(KeyError("x"))))
    assert (answer.status_code, answer.json()["type"]) == (500, "/problems/internal-error")


def test_here_is_the_calling_thread() -> None:
    with pytest.raises(Unavailable):
        here(cast(Any, failing(Unavailable("down"))))(ACTIVITY, "acme", ACTIVITY.query())
