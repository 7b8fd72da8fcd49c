"""Sinks: what Kith knows, kept by another system. The store that puts effects before the position; its target."""
