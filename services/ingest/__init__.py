"""The HTTP door: every event that is posted gets a verdict before it is in Kafka.

In: ``POST /v1/events`` (CloudEvents structured, batched and binary, plain JSON). Out: ``kith.consumers``,
``kith.providers``, ``kith.relations`` (the events' own bytes), and a verdict per event to the sender.
"""
