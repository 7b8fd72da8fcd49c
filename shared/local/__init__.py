"""Real Kafka and MongoDB servers on this machine, without Docker: for ``kith up``, the demo and the tests."""
