"""The Postgres sink: what Kith knows, as tables.

In: the three change topics, and the documents that they name. Out: rows in Postgres, the position beside them.
"""
