"""Webhooks: changes to HTTP endpoints, signed. ``docs/why/webhooks.md`` follows a change through the rooms."""
