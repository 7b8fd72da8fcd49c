"""Measures that only facts can tell, or that ask for a kind, a category or a provider: ``GET /v1/measures/…`` of
relations.

``catalogue`` lists them, ``source`` reads; the others are pure.
"""
