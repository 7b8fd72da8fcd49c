"""`kith evaluate` and `kith learn`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.options import Json, Options, taking
from shared.contracts.errors import ConfigurationError
from shared.service.launch import read_settings

if TYPE_CHECKING:
    from rich.console import Console

    from services.intelligence.evaluation.evaluate import Evaluation
    from services.intelligence.evaluation.metrics import Difference
    from services.intelligence.evaluation.relations import Relations
    from services.intelligence.learning.learn import Lesson
    from services.intelligence.learning.profiles import Profiles

#: Whose relations are used.
RELATIONS: Options = {
    "file": (
        Annotated[
            Path | None,
            typer.Argument(
                help="A CSV file with the columns consumer, provider and, if known, time and kind.",
                show_default=False,
            ),
        ],
        None,
    ),
    "profiles": (
        Annotated[
            Path | None,
            typer.Option(
                "--profiles",
                help="A CSV file with the columns side (consumer or provider), id, latitude, longitude, "
                "categories (separated by |).",
                show_default=False,
            ),
        ],
        None,
    ),
    "tenant": (
        Annotated[
            str | None,
            typer.Option(help="Use the stored relations of this tenant in place of a file.", show_default=False),
        ],
        None,
    ),
    "purpose": (
        Annotated[
            str | None,
            typer.Option(
                help="Of a tenant, use only consumers who have consented to this purpose, besides the one that "
                "KITH_INTELLIGENCE_PURPOSE names for it.",
                show_default=False,
            ),
        ],
        None,
    ),
}


@taking(**RELATIONS)
def evaluate_command(
    draw: Annotated[int, typer.Option(min=0, help="Which order relations of one time are put in.")] = 0,
    online: Annotated[
        bool,
        typer.Option(
            "--online", help="With --tenant: how often a relation followed what was shown in the last year."
        ),
    ] = False,
    as_json: Json = False,
    **given: Any,
) -> None:
    """Measure how good recommendations are on given relations.

    Holds relations out, ranks every provider that the consumer does not know, and reports where the held out ones
    stand: for popularity, item-based cosine, the random walk, and a learned model. Two splits: the latest new
    provider of each consumer (leave-last-out), and everything after one day for all (one-day).

    NDCG@10 is 1 where the right provider always comes first, HR@10 the share of consumers with it among the first
    ten. Coverage is the share of providers in any first ten, Gini how unevenly they are shown. Nothing is written.

    With --online nothing is held out: it reports, by model, how often a relation followed the lists that the
    intelligence service has recorded as shown (KITH_OUTCOMES_SHARE).
    """
    tenant: str | None = given["tenant"]
    if online:
        from services.cli.outcomes import show_outcomes

        if tenant is None or draw or any(given[name] is not None for name in ("file", "profiles", "purpose")):
            raise ConfigurationError("--online takes --tenant NAME, and --json; it reads what was recorded")
        show_outcomes(tenant, as_json)
        return
    from rich.console import Console

    from services.intelligence.evaluation.evaluate import evaluate

    report = evaluate(*_read(**given), _weights(tenant), draw=draw)
    if as_json:
        typer.echo(json.dumps(report.document()))
    else:
        _show(report, Console())


@taking(**RELATIONS)
def learn_command(
    out: Annotated[
        Path | None, typer.Option(help="Write the model into this file, as JSON.", show_default=False)
    ] = None,
    switch: Annotated[
        bool,
        typer.Option("--switch", help="With --tenant: let the model answer, if it beats the walk."),
    ] = False,
    rollback: Annotated[
        bool,
        typer.Option(
            "--rollback", help="With --tenant: go back to the model before, or to the walk. Learns nothing."
        ),
    ] = False,
    as_json: Json = False,
    **given: Any,
) -> None:
    """Learn a model that ranks providers, and tell whether it beats the random walk.

    The model is a conditional logit of named features (walk, places, categories …). It is learned once without
    relations that are held out, to compare it with the walk on these, and once from everything. Of a tenant it is
    stored as the next version, which answers only after --switch.

    Exit status: 0 when the model beats the walk by more than chance, 3 when it does not.
    """
    tenant: str | None = given["tenant"]
    from services.intelligence.learning.learn import TooFew, learn

    if (switch or rollback) and tenant is None:
        raise ConfigurationError("--switch and --rollback need --tenant NAME")
    if rollback:
        _go_back(tenant or "", as_json)
        return
    try:
        lesson = learn(*_read(**given), _weights(tenant))
    except TooFew as error:
        raise ConfigurationError(str(error)) from None
    if out is not None:
        try:
            out.write_text(json.dumps(lesson.document(), indent=1) + "\n")
        except OSError as error:
            raise ConfigurationError(f"{out} cannot be written: {error.strerror}") from None
    stored = None if tenant is None else _store(tenant, lesson, switch and lesson.accepted)
    if as_json:
        typer.echo(json.dumps({**lesson.document(), **({} if stored is None else {"stored": stored})}))
    else:
        _tell(lesson)
        if stored is not None:
            typer.echo(
                f"Stored as {stored['model']}, which " + ("answers now." if stored["live"] else "does not answer.")
            )
    raise typer.Exit(0 if lesson.accepted else 3)


def _store(tenant: str, lesson: "Lesson", live: bool) -> dict[str, object]:
    from services.intelligence.models import Models
    from services.intelligence.schema import COLLECTIONS
    from shared.mongo.store import connect, prepare
    from shared.runtime.clock import now
    from shared.settings import mongo_of

    settings = read_settings()
    with connect(mongo_of(settings)) as client:
        database = client[settings.database]
        prepare(database, COLLECTIONS)
        models = Models(database)
        model = models.add(tenant, lesson.document(), now())
        if live:
            models.switch(tenant)
    return {"model": f"{model['name']}:{model['version']}", "live": live}


def _go_back(tenant: str, as_json: bool) -> None:
    from services.intelligence.models import Models
    from shared.mongo.store import connect
    from shared.settings import mongo_of

    settings = read_settings()
    with connect(mongo_of(settings)) as client:
        model = Models(client[settings.database]).rollback(tenant)
    name = "walk" if model is None else f"{model['name']}:{model['version']}"
    typer.echo(json.dumps({"model": name}) if as_json else f"{name} answers now.")


def _read(
    file: Path | None, profiles: Path | None, tenant: str | None, purpose: str | None
) -> "tuple[Relations, Profiles]":
    from services.cli.evaluate_files import read_profiles, read_relations
    from services.intelligence.learning.profiles import Profiles

    if (file is None) == (tenant is None):
        raise ConfigurationError("give either a file of relations or --tenant NAME")
    if file is not None:
        if purpose is not None:
            raise ConfigurationError("--purpose needs --tenant: a file has no consents")
        return read_relations(file), read_profiles(profiles) if profiles is not None else Profiles()
    if profiles is not None:
        raise ConfigurationError("--profiles needs a file of relations: a tenant's profiles are stored")
    from services.intelligence.consented import purpose_for
    from services.intelligence.evaluation.tenant import read_tenant
    from shared.mongo.store import connect
    from shared.settings import require

    assert tenant is not None
    settings = read_settings()
    require(settings, "mongo")
    assert settings.mongo is not None
    configured = purpose_for(settings.intelligence_purpose, tenant)
    purposes = {each for each in (configured, purpose) if each is not None}
    with connect(settings.mongo) as client:
        return read_tenant(client[settings.database], tenant, purposes)


def _weights(tenant: str | None) -> dict[str, float]:
    """The weights per kind: of a tenant those by which the service answers, of a file none, so that all count
    1."""
    return {} if tenant is None else read_settings().kind_weights


def _show(report: "Evaluation", console: "Console") -> None:
    from services.cli.tables import Column, Row, fitted

    console.print(
        f"{report.relations:,} relations, {report.pairs:,} relationships of {report.consumers:,} consumers with "
        f"{report.providers:,} providers",
        highlight=False,
    )
    columns = [
        Column("method"),
        *(Column(name, right=True) for name in ("NDCG@10", "±", "HR@10")),
        Column("coverage", right=True, rank=2),
        Column("Gini", right=True, rank=1),
        Column("over popularity", right=True, rank=3),
        Column("over cosine", right=True, rank=4),
    ]
    for section in report.sections:
        rows = [
            Row(
                [
                    line.method,
                    f"{line.summary.ndcg:.3f}",
                    f"{line.summary.error:.3f}",
                    f"{line.summary.hits:.3f}",
                    f"{line.summary.coverage:.2f}",
                    f"{line.summary.gini:.2f}",
                    _difference(line.over_popularity) if line.method != "popularity" else "",
                    _difference(line.over_cosine) if line.method != "cosine" else "",
                ]
            )
            for line in section.lines
        ]
        title = (
            f"{section.split}: {section.consumers:,} consumers; walk with β {section.parameters.beta:g} "
            f"and half-life {_months(section.parameters.half_life)}"
        )
        console.print()
        console.print(fitted(title, columns, rows, console))
    for note in report.notes:
        console.print(f"[dim]{note}[/]", highlight=False)


def _tell(lesson: "Lesson") -> None:
    from services.intelligence.learning.features import MEANINGS

    draws = f", {lesson.draws} draws" if lesson.draws > 1 else ""
    typer.echo(f"Held out of {lesson.consumers:,} consumers{draws}, NDCG@10:")
    for name in ("learned", "walk", "cosine", "popularity"):
        figures = getattr(lesson, name)
        typer.echo(f"  {name:<12}{figures.ndcg:.3f} ± {figures.error:.3f}")
    verdict = (
        "beats the walk by more than chance" if lesson.accepted else "does not beat the walk by more than chance"
    )
    typer.echo(f"The model {verdict}: {_difference(lesson.over_walk)}")
    model = lesson.model
    parameters = f"β {model.beta:g}, half-life {_months(model.half_life)}"
    typer.echo(f"\n{parameters}, {model.choices:,} choices, digest {model.digest}")
    for name, weight in sorted(zip(model.features, model.weights, strict=True), key=lambda each: -abs(each[1])):
        typer.echo(f"  {name:<20}{weight:+.2f}  {MEANINGS[name]}")


def _difference(difference: "Difference") -> str:
    return f"{difference.mean:+.3f} ± {difference.error:.3f}"


def _months(half_life: float) -> str:
    return "infinite" if half_life == float("inf") else f"{half_life:g} months"
