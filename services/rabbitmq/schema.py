"""The collections of the bridge: dead letters, which all services share. Pure."""

from shared.contracts.collections import Collections
from shared.runtime.dead_letters import COLLECTION, SPEC

COLLECTIONS: Collections = {COLLECTION: SPEC}
