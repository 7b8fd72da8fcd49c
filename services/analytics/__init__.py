"""Counts relations by hour and day, and ranks them.

In: ``kith.relation-changes``. Out: the collections ``aggregates`` and ``presence``, and over them
``GET /v1/aggregates``, ``GET /v1/top`` and ``GET /v1/measures/…``.
"""
