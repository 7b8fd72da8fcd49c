"""The table of `kith`'s commands and their modules. Importing this imports no command."""

from typing import ClassVar

from services.cli.context import talks_to_a_stack
from services.cli.lazy import LazyGroup, Place
from shared.contracts.services import SERVICES

STACK, DATA, OPERATE, SERVE = "A stack on this machine", "Data", "Operate", "Run one service"

PLACES = {
    "up": Place(
        "services.cli.up_command", "up_command", STACK, "Start Kafka, MongoDB and all services on this machine."
    ),
    "demo": Place(
        "services.cli.up_command",
        "demo_command",
        STACK,
        "Start everything, let a simulated market send events, and check that what is stored is exact.",
    ),
    "down": Place(
        "services.cli.down", "down_command", STACK, "Stop a stack that `kith up` or `kith demo` has started."
    ),
    "logs": Place(
        "services.cli.down", "logs_command", STACK, "Show the log of a service or server of a running stack."
    ),
    "status": Place(
        "services.cli.status",
        "status_command",
        STACK,
        "Show each service's progress and workers, the stored documents and the dead letters.",
    ),
    "import": Place(
        "services.importer.command",
        "import_command",
        DATA,
        "Import rows of CSV, JSON lines, Excel, Parquet or SQLite files as events.",
    ),
    "capture": Place(
        "services.importer.capture_command",
        "capture_command",
        DATA,
        "Read the changes of a database's tables from Kafka, as Debezium writes them, as events.",
    ),
    "report": Place(
        "services.cli.report",
        "report_app",
        DATA,
        "Customer measures: who is active, who comes back, who is leaving, and what it is worth. The services "
        "give the same at /v1/measures/NAME.",
    ),
    "export": Place(
        "services.cli.export",
        "export_command",
        DATA,
        "Write relations, relationships, consumers, providers, aggregates or measures into files.",
    ),
    "recommend": Place(
        "services.cli.recommend",
        "recommend_command",
        DATA,
        "Show who comes next and why: providers for a consumer, or consumers for a provider.",
    ),
    "similar": Place(
        "services.cli.recommend",
        "similar_command",
        DATA,
        "Show who is similar: providers with the same consumers, or consumers with the same providers.",
    ),
    "next": Place(
        "services.cli.recommend",
        "next_command",
        DATA,
        "Show whom a provider should call today: its consumers by churn risk, expected value and affinity.",
    ),
    "affinity": Place(
        "services.cli.recommend",
        "affinity_command",
        DATA,
        "Show one consumer and one provider: what they have, how near they are otherwise, and why.",
    ),
    "paths": Place(
        "services.cli.graph",
        "paths_command",
        DATA,
        "Show how two consumers or providers are connected: the path of the fewest relationships.",
    ),
    "neighbours": Place(
        "services.cli.graph",
        "neighbours_command",
        DATA,
        "Show who is around a consumer or provider: its strongest relationships.",
    ),
    "central": Place(
        "services.cli.graph",
        "central_command",
        DATA,
        "Show who is central: by PageRank, or by the number of relationships.",
    ),
    "communities": Place(
        "services.cli.graph",
        "communities_command",
        DATA,
        "Show communities: who has more to do with each other than with the rest; or the members of one.",
    ),
    "campaign": Place(
        "services.cli.graph",
        "campaign_command",
        DATA,
        "Make lists of providers for many consumers at once, so that every provider is shown.",
    ),
    "evaluate": Place(
        "services.cli.evaluate",
        "evaluate_command",
        DATA,
        "Measure how good recommendations are on given relations.",
    ),
    "learn": Place(
        "services.cli.evaluate",
        "learn_command",
        DATA,
        "Learn a model that ranks providers, and tell whether it beats the random walk.",
    ),
    "webhook": Place(
        "services.cli.webhook",
        "webhook_app",
        DATA,
        "Webhooks: endpoints that get changes over HTTP, signed.",
    ),
    "app": Place(
        "services.cli.app",
        "app_app",
        OPERATE,
        "Applications of third parties: register, approve, suspend, and their secrets.",
    ),
    "contract": Place(
        "services.cli.contract.command",
        "contract_app",
        DATA,
        "Contracts for third parties: what is published, and whether what they read and send still holds.",
    ),
    "explain": Place(
        "services.cli.explain",
        "explain_command",
        DATA,
        "Trace an event: its places in Kafka, what it changed, and why it changed nothing if so.",
    ),
    "dead-letters": Place(
        "services.cli.dead_letters",
        "dead_letters_app",
        OPERATE,
        "Dead letters: rejected messages, kept unchanged. They may contain personal data.",
    ),
    "rebuild": Place(
        "services.cli.rebuild",
        "rebuild_app",
        OPERATE,
        "Rebuild a projection from the log beside the live version, compare the two, and switch.",
    ),
    "backup": Place(
        "services.backup.commands",
        "backup_command",
        OPERATE,
        "Write the database into a folder, as of one moment, while the services go on.",
    ),
    "restore": Place(
        "services.backup.commands",
        "restore_command",
        OPERATE,
        "Load a backup into the database. All services must be stopped, and Kafka must be the one of the backup.",
    ),
    "audit": Place(
        "services.cli.audit", "audit_app", OPERATE, "The record of who saw personal data and who did what."
    ),
    "erase": Place(
        "services.cli.erase",
        "erase_command",
        OPERATE,
        "Erase a consumer, for good: no replay, rebuild or restored dump brings them back.",
    ),
    "receipt": Place("services.cli.receipt", "receipt_app", OPERATE, "Receipts of erasures."),
    "keys": Place("services.cli.keys.app", "keys_app", OPERATE, "The keys of callers, and of the data."),
    "topics": Place("services.cli.topics", "topics_app", OPERATE, "The Kafka topics that Kith uses."),
    "privileges": Place(
        "services.cli.privileges_command",
        "privileges_command",
        OPERATE,
        "Show the least privileges of each service in Kafka and MongoDB: a summary, or the commands that grant "
        "them.",
    ),
    "settings": Place(
        "services.cli.settings_command",
        "settings_command",
        OPERATE,
        "Show every setting: its environment variable, its value now, what it means.",
    ),
    **{name: Place("services.cli.run", name, SERVE, spec.summary) for name, spec in SERVICES.items()},
}

#: Commands that start or manage a stack, and do not use its data.
ABOUT_STACKS = ("up", "demo", "down", "logs")


class Kith(LazyGroup):
    places: ClassVar = {
        name: place if name in ABOUT_STACKS else place._replace(wrap=talks_to_a_stack)
        for name, place in PLACES.items()
    }
