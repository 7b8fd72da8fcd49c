"""The dashboard: a page of static files, and the live figures behind it.

In: aggregates, through ``figures.py``. Out: ``/dashboard/…`` (``pages.py``) and ``/v1/live`` (``live.py``).
"""
