"""The vault: personal values are encrypted with a data key per consumer, and data keys are wrapped by a master
key."""
