"""`kith keys`: API keys, and the encryption keys of the data."""
