"""Versions of a projection: which one is live, and which one is built or kept beside it."""
