"""What services agree on: events, changes, topics, how collections are declared, the outcomes of a failure.
Pure."""
