"""`kith topics`."""

import typer

from shared.service.launch import read_settings

topics_app = typer.Typer(help="The Kafka topics that Kith uses.", no_args_is_help=True)


@topics_app.callback()
def _topics() -> None:
    """Keeps ``create`` a subcommand, so that others can be added."""


@topics_app.command("create")
def create_command() -> None:
    """Create missing topics, and add partitions if KITH_PARTITIONS is larger."""
    from shared.kafka.topics_admin import ensure_topics
    from shared.settings import require

    settings = read_settings()
    require(settings, "kafka")
    for line in ensure_topics(settings) or ["all topics are there"]:
        typer.echo(line)
