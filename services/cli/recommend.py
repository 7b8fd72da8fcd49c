"""`kith recommend` and `kith similar`: from the stored relationships, without a running service."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.contracts.errors import ConfigurationError
from shared.service.launch import read_settings

if TYPE_CHECKING:
    from services.intelligence.questions import Questions

Tenant = Annotated[str, typer.Option(help="The tenant.")]
ConsumerId = Annotated[str | None, typer.Option("--consumer", help="For this consumer.", show_default=False)]
ProviderId = Annotated[str | None, typer.Option("--provider", help="For this provider.", show_default=False)]
Limit = Annotated[int, typer.Option(min=1, max=100, help="Maximum number of answers.")]
Kind = Annotated[str | None, typer.Option(help="Only relations of this kind.", show_default=False)]
Category = Annotated[
    str | None, typer.Option(help="Only providers of this category as answers.", show_default=False)
]
Beta = Annotated[float | None, typer.Option(min=0, max=1, help="How far popularity is taken out.")]
Purpose = Annotated[
    str | None, typer.Option(help="Only consumers who have granted this purpose.", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print one line of JSON, as the API answers.")]


def recommend_command(
    tenant: Tenant = "default",
    consumer: ConsumerId = None,
    provider: ProviderId = None,
    limit: Limit = 10,
    kind: Kind = None,
    category: Category = None,
    beta: Beta = None,
    purpose: Purpose = None,
    known: Annotated[
        bool, typer.Option("--known", help="Those with a relationship, in place of those without.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show who comes next and why: providers for a consumer, or consumers for a provider.

    Reads all stored relationships of the tenant first, as of now; with many, ask the intelligence service instead.
    """
    from services.intelligence.parameters import RecommendQuery

    query = _query(RecommendQuery, consumer, provider, limit, kind, category, beta, purpose, known=known)
    _answer(tenant, consumer, query, similar=False, as_json=as_json)


def similar_command(
    tenant: Tenant = "default",
    consumer: ConsumerId = None,
    provider: ProviderId = None,
    limit: Limit = 10,
    kind: Kind = None,
    category: Category = None,
    beta: Beta = None,
    purpose: Purpose = None,
    as_json: Json = False,
) -> None:
    """Show who is similar: providers with the same consumers, or consumers with the same providers.

    Reads all stored relationships of the tenant first, as of now; with many, ask the intelligence service instead.
    """
    from services.intelligence.parameters import SimilarQuery

    query = _query(SimilarQuery, consumer, provider, limit, kind, category, beta, purpose)
    _answer(tenant, consumer, query, similar=True, as_json=as_json)


def _query(
    model: Any,
    consumer: str | None,
    provider: str | None,
    limit: int,
    kind: str | None,
    category: str | None,
    beta: float | None,
    purpose: str | None,
    **more: Any,
) -> Any:
    from pydantic import ValidationError

    if (consumer is None) == (provider is None):
        raise ConfigurationError("give either --consumer ID or --provider ID")
    given = {
        "consumer_id": consumer,
        "provider_id": provider,
        "limit": limit,
        "kind": kind,
        "category": category,
        "beta": beta,
        "purpose": purpose,
        **more,
    }
    try:
        return model(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        faults = "; ".join(f"--{each['loc'][0]}: {each['msg']}" for each in error.errors())
        raise ConfigurationError(faults) from None


def _answer(tenant: str, consumer: str | None, query: Any, *, similar: bool, as_json: bool) -> None:
    from services.intelligence.questions import NotGranted
    from shared.http.caller import SCOPES, Caller
    from shared.http.parameters import BadParameter
    from shared.mongo.store import connect
    from shared.settings import mongo_of

    settings = read_settings()
    caller = Caller(tenant, frozenset(SCOPES))
    side: Any = "consumer" if consumer is not None else "provider"
    id = query.consumer_id or query.provider_id
    with connect(mongo_of(settings)) as client:
        questions = _questions(settings, client[settings.database], tenant)
        ask = questions.similar if similar else questions.recommend
        try:
            found = ask(caller, side, id, query)
        except NotGranted as error:
            raise ConfigurationError(f"the consumer has not granted the purpose {error}") from None
        except BadParameter as error:
            raise ConfigurationError(str(error)) from None
    if as_json:
        typer.echo(json.dumps(found))
    else:
        far = side if similar else ("provider" if side == "consumer" else "consumer")
        _show(found, far)


def _questions(settings: Any, database: Any, tenant: str) -> "Questions":
    from services.intelligence.advisers import Advisers
    from services.intelligence.models import Models
    from services.intelligence.parameters import Defaults
    from services.intelligence.questions import Questions
    from services.intelligence.scan import MongoSource
    from services.intelligence.state import Still
    from shared.service.composition import now

    source = MongoSource(database, settings.intelligence_purpose, tenant)
    defaults = Defaults(settings.kind_weights, settings.half_life_months, now)
    advisers = Advisers(Models(database), settings.kind_weights)
    return Questions(Still(source.scan(lambda: True)), source, defaults, list, advisers)


def _show(found: dict[str, Any], far: str) -> None:
    from rich.console import Console

    from services.cli.tables import Column, Row, fitted

    console = Console()
    if "reason" in found:
        console.print(f"No answer: {found['reason']}.", highlight=False)
    rows = found["items"] or found.get("popular", [])
    if not rows:
        return
    if not found["items"]:
        console.print("These are the most popular ones instead:")
    columns = [
        Column(far),
        Column("name", rank=2),
        Column("score", right=True),
        Column("because", wrap=True, rank=1),
    ]
    shown = [
        Row(
            [
                each[f"{far}_id"],
                each.get("name") or "",
                f"{each['score']:.4g}",
                _because(each, len(found["items"])),
            ]
        )
        for each in rows
    ]
    console.print(fitted("", columns, shown, console))
    if found.get("left_out"):
        console.print("Consumers who have not granted the purpose are left out.")


def _because(answer: dict[str, Any], walked: int) -> str:
    if not walked:
        return "popular"
    if answer.get("shared") is not None:
        return f"shares {answer['shared']}"
    parts = [
        f"{via.get('name') or via['provider_id']} (shares {via['shared_consumers']})"
        for reason in answer.get("because", ())
        for via in reason.get("via", ())
    ]
    terms = [each["term"] for each in answer.get("because", ()) if each["term"] != "walk"][:2]
    return ", ".join([*parts, *terms])
