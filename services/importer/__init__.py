"""``kith import``: publishes rows of CSV, JSON lines, Excel and SQLite files as events to Kafka.
``kith capture`` does so for changes of a database that Debezium has written into Kafka.

In: a mapping file (``mapping.py``) and the files it names. Out: events in the input topics, and a file of the
rejected rows with their reasons. Running it again publishes the same events again, which changes nothing.
"""
