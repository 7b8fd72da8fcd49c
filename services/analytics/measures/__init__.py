"""Measures of consumers and providers that aggregates alone can tell: ``GET /v1/measures/…`` of analytics.

``catalogue`` lists them, ``source`` reads; the others are pure.
"""
