"""Dead letters, to be inspected and replayed: for `kith dead-letters` and the dashboard."""
