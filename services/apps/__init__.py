"""Applications of third parties: registered, approved by the tenant, and given access tokens.

In: registrations and client credentials over HTTP. Out: signed tokens that every service verifies itself.
"""
