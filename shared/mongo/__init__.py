"""The adapter to MongoDB: the store that commits a slice, claims, writes, and what its errors mean."""
