"""How durable a write is before it counts."""

from pymongo.write_concern import WriteConcern

#: A majority of the replica set has it, so that no failover takes it back; a server that cannot get one says so.
DURABLE = WriteConcern("majority", wtimeout=10_000)
