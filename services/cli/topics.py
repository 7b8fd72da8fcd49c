"""`kith topics`."""

import typer

from shared.service.launch import read_settings

topics_app = typer.Typer(help="The Kafka topics that Kith uses.", no_args_is_help=True)


@topics_app.callback()
def _topics() -> None:
    """Keeps ``create`` a command of its own beside which others may come."""


@topics_app.command("create")
def create_command() -> None:
    """Create the topics that are missing, and add partitions where KITH_PARTITIONS says more."""
    from shared.kafka.topics_admin import ensure_topics
    from shared.settings import require

    settings = read_settings()
    require(settings, "kafka")
    for line in ensure_topics(settings) or ["all topics are there"]:
        typer.echo(line)
