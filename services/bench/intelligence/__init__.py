"""``make bench ARGS=--intelligence``: the engine's speed and memory, and the quality of what it recommends."""
