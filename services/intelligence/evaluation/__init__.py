"""How good recommendations are, by a protocol that anyone can repeat on their own relations. Pure.

Relations are held out, all providers that the consumer does not know are ranked, and the place of those held
out is looked at.
"""
