"""`kith ingest` and so on: one service in this process."""

import runpy


def ingest() -> None:
    """Run the ingest service: events over HTTP into Kafka. Needs KITH_KAFKA."""
    _service("ingest")


def relations() -> None:
    """Run a relations worker and its query API. Needs KITH_KAFKA and KITH_MONGO."""
    _service("relations")


def analytics() -> None:
    """Run an analytics worker and its report API. Needs KITH_KAFKA and KITH_MONGO."""
    _service("analytics")


def privacy() -> None:
    """Run the privacy API: erasing, correcting and exporting consumers. Needs KITH_KAFKA and KITH_MONGO."""
    _service("privacy")


def exports() -> None:
    """Run the exports service: files and the OData feed. Needs KITH_MONGO, and KITH_KAFKA for the ledger."""
    _service("exports")


def _service(name: str) -> None:
    runpy.run_module(f"services.{name}", run_name="__main__", alter_sys=True)
