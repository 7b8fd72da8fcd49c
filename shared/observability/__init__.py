"""What a process shows of itself: metrics, traces, logs, heartbeats, status."""
