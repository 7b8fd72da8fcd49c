"""The command `kith`: starts, fills and observes everything else.
In: a terminal. Out: processes, events, tables.
The composition root of the command: the only package that may import other services."""
