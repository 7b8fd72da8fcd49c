"""What services share: events, changes, topics, the declaration of collections, the outcomes of a failure.
Pure."""
