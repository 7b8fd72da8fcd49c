"""`kith recommend`, `similar`, `next` and `affinity`: from the stored relationships, without a running service."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.options import PURPOSE, STRENGTH, Options, taking
from shared.contracts.errors import ConfigurationError
from shared.service.launch import read_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import BaseModel

    from services.intelligence.questions import Questions
    from shared.http.caller import Caller

_ASKING: Options = {
    "tenant": (Annotated[str, typer.Option(help="The tenant.")], "default"),
    "limit": (Annotated[int, typer.Option(min=1, max=100, help="Maximum number of answers.")], 10),
    **STRENGTH,
    "beta": (Annotated[float | None, typer.Option(min=0, max=1, help="How far popularity is taken out.")], None),
    "explain": (Annotated[bool, typer.Option(help="Show the reasons, too.")], True),
    **PURPOSE,
    "as_json": (
        Annotated[bool, typer.Option("--json", help="Print one line of JSON, as the API answers.")],
        False,
    ),
}
_OF_EITHER: Options = {
    "consumer": (
        Annotated[str | None, typer.Option("--consumer", help="For this consumer.", show_default=False)],
        None,
    ),
    "provider": (
        Annotated[str | None, typer.Option("--provider", help="For this provider.", show_default=False)],
        None,
    ),
    **_ASKING,
    "category": (
        Annotated[
            str | None, typer.Option(help="Only providers of this category as answers.", show_default=False)
        ],
        None,
    ),
}


@taking(**_OF_EITHER)
def recommend_command(
    known: Annotated[
        bool, typer.Option("--known", help="Those with a relationship, in place of those without.")
    ] = False,
    **options: Any,
) -> None:
    """Show who comes next and why: providers for a consumer, or consumers for a provider.

    Reads all stored relationships of the tenant first, as of now; with many, ask the intelligence service instead.
    """
    _of_either(False, {**options, "known": known})


@taking(**_OF_EITHER)
def similar_command(**options: Any) -> None:
    """Show who is similar: providers with the same consumers, or consumers with the same providers.

    Reads all stored relationships of the tenant first, as of now; with many, ask the intelligence service instead.
    """
    _of_either(True, options)


@taking(**_ASKING)
def next_command(
    provider: Annotated[str, typer.Option("--provider", help="Its consumers.")],
    currency: Annotated[
        str | None,
        typer.Option(help="Value in money of this currency, in place of weights.", show_default=False),
    ] = None,
    horizon_months: Annotated[int, typer.Option(min=1, max=120, help="Months that the value looks ahead.")] = 12,
    **options: Any,
) -> None:
    """Show whom a provider should call today: its consumers by churn risk, expected value and affinity.

    Reads all stored relationships of the tenant first, as of now; with many, ask the intelligence service instead.
    """
    from services.intelligence.calling import Calling
    from services.intelligence.parameters import NextQuery

    given = {"provider_id": provider, "currency": currency, "horizon_months": horizon_months, **options}
    query = _query(NextQuery, given)
    found = _asked(options["tenant"], lambda questions, caller: Calling(questions).next(caller, query))
    if options["as_json"]:
        typer.echo(json.dumps(found))
    else:
        from services.cli.recommend_view import show_calls

        show_calls(found)


@taking(**{name: option for name, option in _ASKING.items() if name != "limit"})
def affinity_command(
    consumer: Annotated[str, typer.Argument(help="The consumer's id.", show_default=False)],
    provider: Annotated[str, typer.Argument(help="The provider's id.", show_default=False)],
    **options: Any,
) -> None:
    """Show one consumer and one provider: what they have, how near they are otherwise, and why.

    Reads all stored relationships of the tenant first, as of now; with many, ask the intelligence service instead.
    """
    from pydantic import BaseModel

    from services.intelligence.parameters import PairQuery
    from shared.http.paths import QueryId

    class Pair(BaseModel):
        consumer: QueryId
        provider: QueryId

    pair = _query(Pair, {"consumer": consumer, "provider": provider})
    query = _query(PairQuery, options)
    found = _asked(
        options["tenant"],
        lambda questions, caller: questions.affinity(caller, pair.consumer, pair.provider, query),
    )
    if options["as_json"]:
        typer.echo(json.dumps(found))
    else:
        from services.cli.recommend_view import show_pair

        show_pair(found)


def _of_either(similar: bool, options: dict[str, Any]) -> None:
    from services.intelligence.parameters import RecommendQuery, SimilarQuery

    consumer, provider = options["consumer"], options["provider"]
    if (consumer is None) == (provider is None):
        raise ConfigurationError("give either --consumer ID or --provider ID")
    model = SimilarQuery if similar else RecommendQuery
    query = _query(model, {"consumer_id": consumer, "provider_id": provider, **options})
    side: Any = "consumer" if consumer is not None else "provider"
    id = query.consumer_id if consumer is not None else query.provider_id
    found = _asked(
        options["tenant"],
        lambda questions, caller: (questions.similar if similar else questions.recommend)(caller, side, id, query),
    )
    if options["as_json"]:
        typer.echo(json.dumps(found))
    else:
        from services.cli.recommend_view import show

        show(found, side if similar else ("provider" if side == "consumer" else "consumer"))


def _query(model: "type[BaseModel]", given: dict[str, Any]) -> Any:
    from pydantic import ValidationError

    fields = {name: value for name, value in given.items() if name in model.model_fields and value is not None}
    try:
        return model(**fields)
    except ValidationError as error:
        faults = "; ".join(
            f"--{str(each['loc'][0]).removesuffix('_id').replace('_', '-')}: {each['msg']}"
            for each in error.errors()
        )
        raise ConfigurationError(faults) from None


def _asked(tenant: str, ask: "Callable[[Questions, Caller], dict[str, Any]]") -> dict[str, Any]:
    from services.intelligence.questions import NotGranted
    from shared.http.caller import SCOPES, Caller
    from shared.http.parameters import BadParameter
    from shared.mongo.store import connect
    from shared.settings import mongo_of

    settings = read_settings()
    with connect(mongo_of(settings)) as client:
        try:
            return ask(_questions(settings, client[settings.database], tenant), Caller(tenant, frozenset(SCOPES)))
        except NotGranted as error:
            raise ConfigurationError(f"the consumer has not granted the purpose {error}") from None
        except BadParameter as error:
            raise ConfigurationError(str(error)) from None


def _questions(settings: Any, database: Any, tenant: str) -> "Questions":
    from services.intelligence.advisers import Advisers
    from services.intelligence.models import Models
    from services.intelligence.parameters import Defaults
    from services.intelligence.questions import Questions
    from services.intelligence.scan import MongoSource
    from services.intelligence.state import Still
    from shared.runtime.clock import now

    source = MongoSource(database, settings.intelligence_purpose, tenant)
    defaults = Defaults(settings.kind_weights, settings.half_life_months, now)
    advisers = Advisers(Models(database))
    return Questions(Still(source.scan(lambda: True)), source, defaults, list, advisers)
