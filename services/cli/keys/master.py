"""`kith keys master` and `kith keys rotate`: the encryption keys of the data."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from services.cli.options import Json
from shared.contracts.errors import ConfigurationError
from shared.service.launch import read_settings

master_app = typer.Typer(help="The master keys, which encrypt all other keys.", no_args_is_help=True)


@master_app.command("new")
def new_command(
    file: Annotated[
        Path | None,
        typer.Argument(help="The file; created if missing. Default: KITH_MASTER_KEY_FILE.", show_default=False),
    ] = None,
    show: Annotated[
        bool, typer.Option("--print", help="Print a key, for KITH_MASTER_KEY, and write nothing.")
    ] = False,
    json_line: Json = False,
) -> None:
    """Create a master key and put it first in the file: it is the current one from then on.

    Running services notice the change of the file. `kith keys rotate` then re-encrypts all keys under it; until
    that is done, the older master keys are still needed. Keep a copy of the file elsewhere: without it, personal
    data is lost.
    """
    from shared.vault.master import add_to_file, new_master_key

    if show:
        typer.echo(json.dumps({"key": new_master_key()}) if json_line else new_master_key())
        return
    named = read_settings().master_key_file
    path = file or (Path(named) if named else None)
    if path is None:
        raise ConfigurationError(
            "no file: name one, or set KITH_MASTER_KEY_FILE; --print creates a key for KITH_MASTER_KEY"
        )
    id = add_to_file(path)
    if json_line:
        typer.echo(json.dumps({"id": id, "file": str(path)}))
        return
    typer.echo(f"{id} is the current master key of {path}")


@master_app.command("list")
def list_command(json_line: Json = False) -> None:
    """List the master keys: which one is current, and how many data keys each encrypts."""
    from rich.console import Console

    from services.cli.tables import Column, Row, fitted
    from shared.mongo.store import connect
    from shared.settings import mongo_of
    from shared.vault.mongo_store import MongoKeyStore
    from shared.vault.open import master_keys

    settings = read_settings()
    # Listing needs no master key.
    masters = master_keys(settings) if settings.master_key_file or settings.master_key else None
    known = [] if masters is None else list(masters.known())
    use = dict.fromkeys(known, 0)
    with connect(mongo_of(settings)) as client:
        store = MongoKeyStore(client[settings.database])
        for wrapping in store.wrappings():
            use[wrapping.master] = use.get(wrapping.master, 0) + store.count_under(wrapping.number)
            if wrapping.master not in known:
                known.append(wrapping.master)
    rows = [
        {
            "id": id,
            "current": masters is not None and id == masters.current,
            "here": masters is not None and id in masters.known(),
            "data_keys": use[id],
        }
        for id in known
    ]
    if json_line:
        typer.echo(json.dumps({"items": rows}))
        return
    shown = []
    for row in rows:
        state = "current" if row["current"] else "" if row["here"] else "not known here"
        shown.append(Row([str(row["id"]), state, f"{row['data_keys']:,}"]))
    console = Console()
    columns = [Column("Id"), Column("State", rank=2), Column("Data keys", right=True, rank=3)]
    console.print(fitted("Master keys", columns, shown, console))


def publish_command(json_line: Json = False) -> None:
    """Publish every wrapped data key to the topic of keys, KITH_KEYS_TOPIC.

    Once after the topic was switched on: the services publish only what changes from then on. And now and then, so
    that Kafka removes destroyed keys even where nothing changes. Services keep running. Needs no master key.
    """
    from shared.mongo.store import connect
    from shared.settings import mongo_of
    from shared.vault.mongo_store import MongoKeyStore
    from shared.vault.open import published

    settings = read_settings()
    if settings.keys_topic == "off":
        raise ConfigurationError("KITH_KEYS_TOPIC is off: there is no topic of keys")
    with connect(mongo_of(settings)) as client:
        database = client[settings.database]
        store = published(settings, database, MongoKeyStore(database))
        store.sweep()
        count = store.publish_all()
    typer.echo(json.dumps({"data_keys": count}) if json_line else f"{count:,} data keys are published.")


def rotate_command(json_line: Json = False) -> None:
    """Re-encrypt every data key under a new wrapping key, and that under the current master key.

    Services keep running. Personal data itself is not rewritten, because the data keys stay the same. Run the
    command again if it was interrupted. Afterwards only the current master key is needed, except for older copies
    of the database.
    """
    from shared.access.acts import INSTALLATION, recorder
    from shared.mongo.store import connect
    from shared.settings import mongo_of, require
    from shared.vault.open import key_store, master_keys
    from shared.vault.rotation import rotate

    settings = read_settings()
    require(settings, "mongo", "master_key")
    if (masters := master_keys(settings)) is None:
        raise ConfigurationError("KITH_ENCRYPTION is off: there are no keys to rotate")
    with connect(mongo_of(settings)) as client, _bar() as progress:
        database = client[settings.database]
        with recorder(settings, database) as acts:
            done = rotate(key_store(settings, database), masters, progress)
            acts.record(INSTALLATION, "keys.rotate", {"master_key": done.master}, {"data_keys": done.keys})
    if json_line:
        typer.echo(json.dumps({"data_keys": done.keys, "wrapping_key": done.number, "master_key": done.master}))
        return
    typer.echo(
        f"The wrapping key {done.number} now encrypts {done.keys:,} data keys, and the master key {done.master} "
        "all wrapping keys. Older master keys are not needed any more."
    )


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr if that is a terminal: the function advances it."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("data keys"), BarColumn(), TextColumn("{task.completed:,.0f}"), TimeRemainingColumn())
    hidden = not sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=hidden) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, whole: bar.update(task, completed=done, total=whole)
