"""The commands of `kith rebuild`."""

import json
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from services.rebuild.build import LiveBounds, RebuildContext, Superseded, build, lag, offsets
from services.rebuild.compare import VersionComparison
from services.rebuild.console import Interrupted, catch_up, ending, report, stopping
from services.rebuild.context import NAMES, opened
from services.rebuild.diff import why
from services.rebuild.names import Name
from services.rebuild.versions import begin, drop, state_of, versions_of
from services.rebuild.view import Meter, difference_dict, show_difference
from services.relations.factory import strength_of
from shared.access.acts import record_act
from shared.contracts.errors import ConfigurationError
from shared.kafka.python_client.all_partitions import AllPartitionsReader
from shared.runtime.runner import Runner
from shared.service.launch import read_settings
from shared.versions.generations import collection_of, own_collections, settled

#: The conventional status after Ctrl-C; 1 means that there are differences.
_INTERRUPTED = 130


def build_version(name: Name, rate: float | None, once: bool, incomplete: bool, as_json: bool) -> int:
    """Build a version, or resume building it. Returns the exit status."""
    settings = read_settings()
    with opened(settings, name) as (context, _), stopping() as stop:
        firsts = _firsts(context)
        target = begin(context, lambda: firsts, incomplete=incomplete)
        meter = Meter(context, target, firsts, as_json=as_json)
        caught_up = False

        def done(_: Runner) -> bool:
            nonlocal caught_up
            progress = meter.look()
            if progress is not None and progress.level and not caught_up:
                caught_up = True
                meter.show()
                meter.end()
                if not as_json:
                    _say_caught_up(name, once)
            return stop.is_set() or (caught_up and once)

        bounds = LiveBounds(context.registry, target, context.owner)
        try:
            build(context, target, bounds, done, rate)
        except Superseded as error:
            meter.end()
            # A switch is the regular end; any other reason is reported to the operator.
            live = settled(context.registry).live == target
            report(str(error), as_json, ended="live" if live else "superseded")
            return 0 if live else 1
        meter.end()
        if not caught_up:
            report(f"Stopped. `kith rebuild {name}` resumes here.", as_json, ended="stopped")
        elif as_json:
            report("", as_json, ended="level")
        return int(once and not caught_up)


def _say_caught_up(name: Name, once: bool) -> None:
    follows = "" if once else " It keeps following the log; Ctrl-C stops it and loses nothing."
    typer.echo(
        f"The new version has caught up with the live one.{follows} `kith rebuild diff {name}` compares the two, "
        f"`kith rebuild switch {name}` makes it live."
    )


def compare(name: Name, rate: float, as_json: bool) -> int:
    """Compare the two versions. Returns the exit status."""
    settings = read_settings()
    with opened(settings, name) as (context, database), stopping() as stop:
        found = settled(context.registry)
        if found.other is None:
            raise ConfigurationError(f"{name} has no second version; `kith rebuild {name}` builds one")
        strength, other = strength_of(settings), found.other
        try:
            catch_up(context, other, rate, stop, as_json)
            comparing = VersionComparison(
                context,
                database,
                other,
                lambda collection: why(collection, found.live, other, strength),
                lambda text: None if as_json else typer.echo(text, err=True),
                ending(stop),
            )
            difference = comparing.compare()
        except Interrupted:
            return _INTERRUPTED
        except Superseded as error:
            raise ConfigurationError(f"not compared: {error}") from None
    if as_json:
        typer.echo(json.dumps(difference_dict(difference)))
    else:
        console = Console()
        show_difference(difference, console)
        versions = f"version {difference.live} and version {difference.other} of {name}"
        console.print(f"\n{versions} {'are equal' if difference.same else 'differ'}.", highlight=False)
    return 0 if difference.same else 1


def drop_version(name: Name, as_json: bool) -> None:
    """Delete the version that is not live."""
    settings = read_settings()
    with opened(settings, name) as (context, _):
        found = settled(context.registry)
        version = found.dropping or found.other
        if version is not None:
            record_act(settings, "rebuild.drop", {"projection": name, "version": str(version)})
        for _step in drop(context):
            pass
    if as_json:
        typer.echo(json.dumps({"projection": name, "live": found.live, "dropped": version}))
    else:
        typer.echo(f"Deleted version {version} of {name}. Version {found.live} is live.")


def show_versions(as_json: bool) -> None:
    """Print the versions of each projection."""
    settings = read_settings()
    rows: list[dict[str, Any]] = []
    for name in NAMES:
        with opened(settings, name) as (context, database):
            found = settled(context.registry)
            ahead = offsets(context.registry, found.live)
            for version in versions_of(found):
                stats = [
                    database.command("collStats", collection_of(collection, version))
                    for collection in own_collections(context.collections)
                ]
                rows.append(
                    {
                        "projection": name,
                        "version": version,
                        "state": state_of(version, found),
                        "events": sum(offsets(context.registry, version).values()),
                        "behind": lag(offsets(context.registry, version), ahead),
                        "documents": sum(each.get("count", 0) for each in stats),
                        "bytes": sum(each.get("storageSize", 0) + each.get("totalIndexSize", 0) for each in stats),
                        "switching": None if found.hand_over is None else found.hand_over.owner,
                    }
                )
    if as_json:
        typer.echo(json.dumps(rows))
        return
    table = Table("Projection", "Version", "State", "Events", "Behind", "Documents", "MB on disk")
    for row in rows:
        state = f"{row['state']} (switching: {row['switching']})" if row["switching"] else row["state"]
        table.add_row(
            row["projection"],
            str(row["version"]),
            state,
            f"{row['events']:,}",
            f"{row['behind']:,}",
            f"{row['documents']:,}",
            f"{row['bytes'] / 1e6:,.1f}",
        )
    for column in table.columns[3:]:
        column.justify = "right"
    Console().print(table)


def _firsts(context: RebuildContext) -> dict[str, int]:
    reader = context.open_reader()
    assert isinstance(reader, AllPartitionsReader)
    try:
        return reader.firsts()
    finally:
        reader.close()
