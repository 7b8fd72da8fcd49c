"""What a process reports about itself: metrics, traces, logs, heartbeats, status."""
