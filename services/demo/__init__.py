"""A simulated market and an independent check of what Kith makes of it.

In: nothing but a seed. Out: events through the HTTP door, a live view, and the verdict whether every stored
document equals a plain fold of the events that were sent.
"""
