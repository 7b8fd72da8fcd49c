"""In: every relationship (MongoDB, then the changes from Kafka), kept in memory as a graph.
Out: who comes next and why: recommendations, similarity, paths, communities, over HTTP.
The state is what the relationships are; models, communities and outcomes are its only documents."""
