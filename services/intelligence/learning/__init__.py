"""A conditional logit of named features, learned from a tenant's own relations. Pure."""
