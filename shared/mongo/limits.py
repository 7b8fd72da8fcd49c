"""How long MongoDB works on a read. Pure."""

#: Seconds for a read that states no limit of its own. Less than the socket's timeout, so that the answer is the
#: server's.
LIMIT_SECONDS = 25.0
#: Milliseconds for a query of an index that a request or a worker waits for.
QUERY_MS = 5_000
#: Milliseconds for a stream over whole collections: for all of its parts together.
STREAM_MS = 60 * 60 * 1000
