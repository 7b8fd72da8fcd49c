"""What happened, counted by hour and day, and ranked.

In: ``kith.relation-changes``. Out: the collections ``aggregates``, ``presence`` and ``marks`` (how far each
source has been counted), and over them ``GET /v1/aggregates`` and ``GET /v1/top``.
"""
