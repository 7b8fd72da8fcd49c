"""The MongoDB adapter: the store that commits slices, claims, writes, and the translation of errors."""
