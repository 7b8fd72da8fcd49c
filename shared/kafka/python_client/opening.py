"""Opening clients of kafka-python whose brokers may be away."""

from typing import Any, TypeVar

_Client = TypeVar("_Client")


def opened(kind: type[_Client], **options: Any) -> _Client:
    """A KafkaConsumer or KafkaAdminClient with these options. Raises KafkaError, and then leaves nothing behind:
    kafka-python 3.0.12 starts a thread before it looks for the brokers, and does not end it if there are none."""
    client = kind.__new__(kind)
    try:
        client.__init__(**options)  # type: ignore[misc]
    except BaseException:
        if (inner := getattr(client, "_client", None)) is not None:
            inner.close()
        if (loop := getattr(client, "_net", None)) is not None:
            loop.stop(timeout_ms=1_000)
        raise
    return client
