"""Exactly-once processing: the runner, a partition's state, the fold of a slice, sequence numbers, the outbox.

The protocols that Kafka, MongoDB and a projection implement are here as well; no client library is."""
