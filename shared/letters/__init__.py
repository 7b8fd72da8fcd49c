"""Dead letters, for whoever looks at them and publishes them again: `kith dead-letters` and the dashboard."""
