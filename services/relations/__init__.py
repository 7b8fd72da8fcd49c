"""In: kith.consumers, kith.providers, kith.relations.
Out: the collections consumers, providers, relations and relationships, the query API over them,
kith.consumer-changes, kith.provider-changes, kith.relation-changes and kith.dead-letters."""
