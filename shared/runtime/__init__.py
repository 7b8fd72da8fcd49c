"""Exactly-once processing: the runner, partition state, the fold of a slice, sequence numbers, the outbox.

The protocols that Kafka, MongoDB and a projection implement are here as well, but no client library.
"""
