"""`kith report`: the measures as tables, CSV or JSON, computed from MongoDB by the services' own code."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from services.analytics.measures import catalogue as analytics
from services.relations.measures import catalogue as relations
from shared.contracts.errors import ConfigurationError
from shared.contracts.events import Tenant
from shared.contracts.wording import in_words
from shared.measures.answer import Answer
from shared.measures.query import BadMeasure, NotInstalled, PeriodQuery
from shared.runtime.clock import now
from shared.service.launch import read_settings

if TYPE_CHECKING:
    from pymongo.database import Database

    from shared.runtime.protocols import Document
    from shared.settings import Settings
    from shared.vault.keys import Vault

report_app = typer.Typer(
    help="Customer measures: who is active, who comes back, who is leaving, and what it is worth. "
    "The services give the same at /v1/measures/NAME.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
_Tenant: TypeAdapter[str] = TypeAdapter(Tenant)


@dataclass(frozen=True, slots=True)
class Report:
    """A measure of analytics, of relations, or of both under one name.

    With both, relations answers questions about a kind, a category or a provider, because only its facts contain
    them. Analytics answers the others, because it is faster.
    """

    name: str
    question: str
    queries: tuple[type[PeriodQuery], ...]

    @property
    def fields(self) -> dict[str, FieldInfo]:
        """Every parameter, by its public name."""
        return {field.alias or name: field for query in self.queries for name, field in query.model_fields.items()}


_ANALYTICS = {measure.name: measure for measure in analytics.MEASURES}
_RELATIONS = {measure.name: measure for measure in relations.MEASURES}
_FILTERS = frozenset({"kind", "category", "provider_id"})


def reports() -> Iterator[Report]:
    """All measures, by name."""
    for name in sorted({*_ANALYTICS, *_RELATIONS}):
        ways = [measures[name] for measures in (_ANALYTICS, _RELATIONS) if name in measures]
        yield Report(name, ways[0].question, tuple(way.query for way in ways))


def answer(
    database: "Database[Document]",
    name: str,
    tenant: str,
    asked: Mapping[str, str],
    scales: Mapping[str, tuple[int, int]] | None = None,
    vault: "Vault | None" = None,
) -> Answer:
    """A measure of a tenant, from the current documents. ``asked`` contains the parameters as text, under their
    names in the routes; ``scales`` is the setting of that name; ``vault`` opens the places of consumers. Raises
    BadMeasure, NotInstalled, ValidationError and Unavailable."""
    from services.analytics.measures.source import Measures as AnalyticsMeasures
    from services.relations.measures.source import Measures as RelationsMeasures
    from shared.versions.live import LiveNames
    from shared.versions.mongo_registry import MongoRegistry

    names = LiveNames(MongoRegistry(database, "relations"))
    if _by_analytics(name, asked):
        counted = LiveNames(MongoRegistry(database, "analytics"))
        measure = _ANALYTICS[name]
        query = measure.query.model_validate(asked)
        return measure.run(AnalyticsMeasures(database, counted, names, now, scales).of(tenant), query)
    other = _RELATIONS[name]
    query = other.query.model_validate(asked)
    return other.run(RelationsMeasures(database, names, now, vault, scales).of(tenant), query)


def answer_here(
    settings: "Settings",
    database: "Database[Document]",
    name: str,
    tenant: str,
    asked: Mapping[str, str],
    subject: Mapping[str, str],
) -> tuple[Answer, bool]:
    """What the services of this installation answer: on its scales of ratings, with the places of consumers. The
    second value is whether it contains personal data; this is recorded in the audit before, under ``subject``.
    Raises what ``answer`` raises, and ConfigurationError for cities without the master key."""
    shown: tuple[str, ...] = ()
    vault = None
    if not _by_analytics(name, asked):
        measure = _RELATIONS[name]
        shown = measure.personal(measure.query.model_validate(asked))
    if shown and settings.encryption != "off":
        vault = _vault(settings, database, asked)
        shown = shown if vault is not None else ()
    if shown:
        from shared.access.acts import record_act

        record_act(settings, "personal.read", subject, tenant, shown)
    return answer(database, name, tenant, asked, settings.rating_scales, vault), bool(shown)


def _by_analytics(name: str, asked: Mapping[str, str]) -> bool:
    return name in _ANALYTICS and (name not in _RELATIONS or not asked.keys() & _FILTERS)


@contextmanager
def _complaints(tenant: str) -> Iterator[None]:
    """The errors of the parameters, with the names of the command's options."""
    try:
        _Tenant.validate_python(tenant)
    except ValidationError:
        raise typer.BadParameter("is not a valid tenant name", param_hint="--tenant") from None
    try:
        yield
    except ValidationError as error:
        wrong = error.errors()[0]
        text = in_words(wrong)
        if wrong["type"] == "extra_forbidden":
            text = "cannot be combined with --kind, --category or --provider-id"
        raise typer.BadParameter(text, param_hint=_option(str(wrong["loc"][0]))) from None
    except BadMeasure as bad:
        raise typer.BadParameter(bad.detail, param_hint=_option(bad.name)) from None
    except NotInstalled as missing:
        raise ConfigurationError(str(missing)) from None


def _vault(settings: "Settings", database: "Database[Document]", asked: Mapping[str, str]) -> "Vault | None":
    """The vault, for the measure that shows where consumers live. Their cities and points are encrypted: without
    a master key, points are left out with a notice. Raises ConfigurationError if cities are asked for then."""
    from shared.settings import require
    from shared.vault.open import vault_in

    try:
        require(settings, "mongo", "master_key")
    except ConfigurationError as missing:
        if asked.get("level") == "city":
            raise ConfigurationError(f"the cities of consumers are encrypted: {missing}") from None
        typer.echo(f"kith: latitude and longitude are left out, because they are encrypted: {missing}", err=True)
        return None
    return vault_in(settings, database, seals=False)


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _command(report: Report) -> Callable[..., None]:
    def command(tenant: str, json_line: bool, csv: bool, **given: str | None) -> None:
        from services.cli.report_view import WIDTH, about, as_csv, show
        from shared.mongo.store import connect
        from shared.settings import mongo_of

        settings = read_settings()
        mongo = mongo_of(settings)
        if json_line and csv:
            raise typer.BadParameter("choose one of --json and --csv", param_hint="--csv")
        asked = {name.removesuffix("_"): value for name, value in given.items() if value is not None}
        with _complaints(tenant), connect(mongo) as client:
            database = client[settings.database]
            found, _ = answer_here(settings, database, report.name, tenant, asked, {"report": report.name})
        if json_line:
            typer.echo(found.model_dump_json())
        elif csv:
            typer.echo(as_csv(found), nl=False)
            for label, text, _ in about(found, asked):
                typer.echo(f"{label}: {text}", err=True)
        else:
            show(report.question, found, asked, shutil.get_terminal_size((WIDTH, 24)).columns)

    # Typer derives options from a signature, and the measure's parameters define this one.
    period = report.queries[0].default_period()
    parameters = [_parameter(name, field, period) for name, field in report.fields.items()]
    parameters += [
        Parameter("tenant", Parameter.KEYWORD_ONLY, default="default", annotation=_TENANT),
        Parameter("json_line", Parameter.KEYWORD_ONLY, default=False, annotation=_JSON),
        Parameter("csv", Parameter.KEYWORD_ONLY, default=False, annotation=_CSV),
    ]
    command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__doc__ = report.question
    return command


_TENANT = Annotated[str, typer.Option(help="Tenant of the data.")]
_JSON = Annotated[bool, typer.Option("--json", help="Print the answer of the route as one line of JSON.")]
_CSV = Annotated[
    bool,
    typer.Option(
        "--csv",
        help="Print the list as CSV: money in minor units, days in UTC. The parameters go to stderr.",
    ),
]


def _parameter(name: str, field: FieldInfo, default_period: str) -> Parameter:
    text = field.description or ""
    if name == "from":
        text += f" Default: {default_period}."
    elif field.default is not None:
        text += f" Default: {field.default}."
    option = typer.Option(_option(name), help=text, metavar=_metavar(field.annotation), show_default=False)
    # "from" is a keyword of Python.
    variable = f"{name}_" if name == "from" else name
    return Parameter(variable, Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, option])


def _metavar(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return "|".join(get_args(annotation))
    if annotation in (int, float):
        return "NUMBER"
    # Behind an Annotated or an Optional.
    return next((found for part in get_args(annotation) if (found := _metavar(part)) != "TEXT"), "TEXT")


for _report in reports():
    report_app.command(_report.name, help=_report.question)(_command(_report))
