"""Measures of consumers and providers that need aggregates only: ``GET /v1/measures/…`` of analytics.

``catalogue`` lists them, ``source`` reads; the others are pure.
"""
