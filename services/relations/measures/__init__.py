"""Measures that need facts, or that filter by kind, category or provider: ``GET /v1/measures/…`` of relations.

``catalogue`` lists them, ``source`` reads; the others are pure.
"""
