"""The HTTP side of a service: the server, health, problems, parameters, cursors, the scopes of a route."""
