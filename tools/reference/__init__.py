"""The reference pages of the site, made from the code: API, topics, command and settings."""
