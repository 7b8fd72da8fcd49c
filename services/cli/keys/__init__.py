"""`kith keys`: API keys, and the keys that data is encrypted under."""
