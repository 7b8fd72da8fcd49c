"""The composition of a service process."""
