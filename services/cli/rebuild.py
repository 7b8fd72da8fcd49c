"""`kith rebuild`: builds a new version of a projection beside the live one, compares, switches and rolls back."""

from typing import Annotated, Literal, get_args

import typer

from services.rebuild.names import Name
from shared.contracts.services import PROJECTIONS

#: Events per second: leaves most of two cores to the workers.
RATE = 2_000.0

rebuild_app = typer.Typer(
    help="Rebuild a projection from the log beside the live version, compare the two, and switch.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

Json = Annotated[bool, typer.Option("--json", help="Print lines of JSON for programs.")]
Rate = Annotated[float, typer.Option(min=0, help="Maximum events per second; 0 is unlimited.")]
Once = Annotated[bool, typer.Option("--once", help="Exit when it has caught up, instead of following the log.")]
Incomplete = Annotated[
    bool, typer.Option("--incomplete", help="Build even though retention has deleted the beginning of a log.")
]
Differences = Annotated[
    Literal["refuse", "publish", "ignore"],
    typer.Option(
        help="What to do when the two versions hold different facts (relations only): refuse to switch; publish a "
        "change for each difference; or ignore them, which also skips the comparison."
    ),
]
Which = Annotated[Name, typer.Argument(help="The projection.", show_default=False)]


def _build_command(name: Name, summary: str) -> None:
    def command(
        rate: Rate = RATE, once: Once = False, incomplete: Incomplete = False, json_line: Json = False
    ) -> None:
        from services.rebuild.commands import build_version

        raise typer.Exit(build_version(name, rate or None, once, incomplete, json_line))

    command.__doc__ = f"""{summary}

    Runs until the new version is live, or until Ctrl-C. Run it again to resume, also after a crash. The live
    version keeps serving meanwhile. Published changes are not published again, and no dead letter is stored twice.
    It needs disk space for a second copy, and never passes the position of the live version.
    """
    rebuild_app.command(name)(command)


for _name in get_args(Name):
    _build_command(_name, PROJECTIONS[_name].rebuilds)


@rebuild_app.command("cassandra")
def cassandra_command(json_line: Json = False) -> None:
    """Make every row of the Cassandra sink anew from MongoDB, and delete those that no document has.

    The sink goes on meanwhile, and readers notice nothing. It may be stopped and run again at any time. It is
    needed after Cassandra was restored from a backup, and after a switch of relations or analytics that published
    no differences.
    """
    from services.rebuild.sink import rebuild_sink

    raise typer.Exit(rebuild_sink("cassandra", json_line))


@rebuild_app.command("postgres")
def postgres_command(json_line: Json = False) -> None:
    """Make every row of the Postgres sink anew from MongoDB, and delete those that no document has.

    The sink goes on meanwhile, and readers notice nothing. It may be stopped and run again at any time. It is
    needed after somebody has changed rows by hand, and after a switch of relations that published no differences.
    """
    from services.rebuild.sink import rebuild_sink

    raise typer.Exit(rebuild_sink("postgres", json_line))


@rebuild_app.command("diff")
def diff_command(name: Which, rate: Rate = RATE, json_line: Json = False) -> None:
    """Compare the new version with the live one, document by document, and explain the differences.

    Works while events flow: a snapshot of the live version is compared with the other version at exactly the same
    offsets. A running `kith rebuild` of that version exits. Exit status 0: no difference; 1: they differ. Values
    that may be personal are not shown.
    """
    from services.rebuild.commands import compare

    raise typer.Exit(compare(name, rate, json_line))


@rebuild_app.command("switch")
def switch_command(
    name: Which, rate: Rate = RATE, differences: Differences = "refuse", json_line: Json = False
) -> None:
    """Make the new version live, at the same moment for all workers, queries and reports.

    First it catches up, which can take a while. Then the live version is stopped, its last changes are published,
    and the new version folds up to exactly the same offsets and takes over: the changes of every event are
    published once. Workers need no restart. If this command dies, run it again; after half a minute the live
    version resumes by itself.

    Changes that were published are not published again. Where the new version holds different facts, consumers of
    the change topics (analytics is one) would keep the old ones. So the facts are compared first, and if any
    differ, nothing is switched until --differences states what to do.
    """
    from services.rebuild.switch import switch

    raise typer.Exit(switch(name, rate, differences, json_line, back=False))


@rebuild_app.command("rollback")
def rollback_command(
    name: Which, rate: Rate = RATE, differences: Differences = "refuse", json_line: Json = False
) -> None:
    """Switch back to the previous version. Run it again to undo.

    It works like a switch: events that have arrived since are folded into the previous version first, without
    publishing their changes again. --differences ignore skips the comparison of facts and is faster.
    """
    from services.rebuild.switch import switch

    raise typer.Exit(switch(name, rate, differences, json_line, back=True))


@rebuild_app.command("drop")
def drop_command(name: Which, json_line: Json = False) -> None:
    """Delete the version that is not live: its collections, positions and outbox. This cannot be undone."""
    from services.rebuild.commands import drop_version

    drop_version(name, json_line)


@rebuild_app.command("status")
def status_command(json_line: Json = False) -> None:
    """Show the versions of each projection: which is live, its progress and its size."""
    from services.rebuild.commands import show_versions

    show_versions(json_line)
