"""Measures Kith beside its peers on the same topic, in one run: ``make bench``.
In: a generated topic of relation events. Out: a table of rates and ratios, or rows as JSON.
It starts the real services as processes and imports none of their code."""
