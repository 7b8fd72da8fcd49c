"""What the customer measures have in common: days and buckets, queries, and those measures that both analytics
(from aggregates) and relations (from facts) answer. Modules that are pure say so."""
