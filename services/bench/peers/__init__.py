"""What Kith is compared with, each a program of its own that knows nothing of Kith.

They are told by BENCH_KAFKA, BENCH_MONGO, BENCH_DATABASE, BENCH_TOPIC and BENCH_GROUP what to read and where
to store it: every event under its relation's id in the collection ``relations``, the last one wins. All upsert by
``$set``: for an event that comes again it costs mongod less than replacing the document."""
