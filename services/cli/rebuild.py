"""`kith rebuild`: a new version of a projection beside the live one, compared, switched to, and back."""

from typing import Annotated, Literal

import typer

from services.rebuild.names import Name

#: Leaves the greater part of two cores to the workers.
RATE = 2_000.0

rebuild_app = typer.Typer(
    help="Build a projection anew from the log, beside the one that serves; compare the two, and switch.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

Json = Annotated[bool, typer.Option("--json", help="Print lines of JSON for programs.")]
Rate = Annotated[float, typer.Option(min=0, help="Most events a second; 0 is as fast as it goes.")]
Once = Annotated[bool, typer.Option("--once", help="End when it has caught up, instead of following.")]
Incomplete = Annotated[bool, typer.Option("--incomplete", help="Build although a log has lost its beginning.")]
Differences = Annotated[
    Literal["refuse", "publish", "ignore"],
    typer.Option(
        help="What to do where changes of the other version would have told of other facts (relations only): "
        "refuse; publish a change for each of them; or ignore it, which also saves comparing them."
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

    Runs until it is switched to, or until Ctrl-C; run again, it goes on where it was, also after a crash. The live
    version serves meanwhile. Nothing that the past has published is published again, and no dead letter is kept
    twice. It needs the room of a second copy, and reads no further than the live version has come.
    """
    rebuild_app.command(name)(command)


_build_command("relations", "Build consumers, providers, relations and relationships anew from their topics.")
_build_command("analytics", "Build aggregates and presence anew from the changes of relations.")


@rebuild_app.command("diff")
def diff_command(name: Which, rate: Rate = RATE, json_line: Json = False) -> None:
    """Compare the version beside the live one with it, document by document, and say why they differ.

    Works while events flow: a snapshot of the live version is compared with the other one, brought to exactly the
    same offsets. Whoever builds the other version at the time ends. Exit status 0: all is the same; 1: something
    differs. Values that may be personal are not shown.
    """
    from services.rebuild.commands import compare

    raise typer.Exit(compare(name, rate, json_line))


@rebuild_app.command("switch")
def switch_command(
    name: Which, rate: Rate = RATE, differences: Differences = "refuse", json_line: Json = False
) -> None:
    """Make the version that has been built the live one, at one moment for all workers, queries and reports.

    First it catches up, which can take a while. Then the live version is stopped, its last changes are published,
    the new one folds to exactly the same offsets, and goes on from there: the changes of every event are published
    once. Workers need no restart. If this command dies, run it again; after half a minute the live version goes on
    by itself.

    What the past has published is not published again. So where the new version holds other facts, readers of
    changes, analytics among them, would keep what the old one told them. The facts are compared first, and if any
    differ, nothing is switched until --differences says what to do.
    """
    from services.rebuild.switch import switch

    raise typer.Exit(switch(name, rate, differences, json_line, back=False))


@rebuild_app.command("rollback")
def rollback_command(
    name: Which, rate: Rate = RATE, differences: Differences = "refuse", json_line: Json = False
) -> None:
    """Make the version live again that was before the last switch; once more, and the other one is again.

    It goes like a switch: what has come since is folded into it first, without publishing it again. In a hurry,
    --differences ignore saves comparing the facts.
    """
    from services.rebuild.switch import switch

    raise typer.Exit(switch(name, rate, differences, json_line, back=True))


@rebuild_app.command("drop")
def drop_command(name: Which, json_line: Json = False) -> None:
    """Delete the version that is not live: its collections, positions and outbox. There is no way back."""
    from services.rebuild.commands import drop_version

    drop_version(name, json_line)


@rebuild_app.command("status")
def status_command(json_line: Json = False) -> None:
    """Show the versions of each projection: which one is live, how far they are, how large."""
    from services.rebuild.commands import show_versions

    show_versions(json_line)
