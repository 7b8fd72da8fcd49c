"""``kith explain``: traces one event across services, and explains its effect. Reads only."""
