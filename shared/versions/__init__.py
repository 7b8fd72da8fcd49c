"""Versions of a projection: one is live, another may be built or kept beside it."""
