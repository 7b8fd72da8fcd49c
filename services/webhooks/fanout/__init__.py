"""From the topics of changes to the queues of endpoints."""
