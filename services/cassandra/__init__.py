"""The Cassandra sink: facts, relationships and aggregates in tables by question."""
