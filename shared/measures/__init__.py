"""What the customer measures share: days and buckets, queries, and the measures that both analytics (from
aggregates) and relations (from facts) answer. Pure modules are marked as such."""
