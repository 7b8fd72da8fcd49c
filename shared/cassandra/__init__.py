"""Cassandra: connections, the tables of the sink, and reads of them."""
