"""`kith backup` and `kith restore`: the database in files, as of one moment, and back.

In: all collections of the database; the ends of the topics.
Out: a folder, or a database from which the services go on; what was lost in between, by name.
"""
