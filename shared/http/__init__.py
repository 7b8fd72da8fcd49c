"""How an HTTP service answers: the server, health, problems, parameters, cursors, the scopes of a route."""
