"""The vault: personal values are sealed under a key of their own consumer, and keys under a master key."""
