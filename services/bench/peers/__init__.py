"""Kith's peers in the comparison, each a program of its own that is independent of Kith.

BENCH_KAFKA, BENCH_MONGO, BENCH_DATABASE, BENCH_TOPIC and BENCH_GROUP define what they read and where they store
it: every event under its relation's id in the collection ``relations``, the last one wins. All upsert with
``$set``: for a redelivered event it costs mongod less than replacing the document."""
