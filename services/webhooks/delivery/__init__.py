"""From the queues of endpoints to their receivers: leases, senders, attempts, outcomes."""
