"""The HTTP door: every posted event gets a verdict before it is published to Kafka.

In: ``POST /v1/events`` (CloudEvents structured, batched and binary, plain JSON). Out: ``kith.consumers``,
``kith.providers``, ``kith.relations`` (the events' own bytes), and a verdict per event to the sender.
"""
