"""``kith explain``: what became of one event, across services, and why. Reads only."""
