"""What was shown, and whether a relation followed."""
