"""``kith rebuild``: builds a second version of a projection from the log, compares it, switches to it, drops
it."""
