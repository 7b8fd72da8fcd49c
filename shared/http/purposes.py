"""What a route does for a credential that is bound to a purpose, declared at the route. Pure.

For such a credential (``Caller.purpose``) only consumers who have granted the purpose exist: whoever has not is
like an unknown consumer, in every answer, count, order, page and error. The guard treats every request as if
``?purpose=`` were given with it, and refuses the routes that cannot leave out the others.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a route admits bound credentials, and why. ``asked``: its parameter ``purpose`` is given for
    them."""

    admits: bool
    why: str
    asked: bool = False


#: Its answers, orders and pages follow from consumers who have granted the purpose, and from no others.
GRANTED = Decision(True, "is about consumers who have granted the purpose", asked=True)
#: As GRANTED, where no parameter says so: the route asks its caller for the purpose.
GRANTED_ITSELF = Decision(True, "is about consumers who have granted the purpose")
#: Nothing in its answers follows from what is stored about consumers.
IMPERSONAL = Decision(True, "holds nothing of consumers")
#: It takes what it is given, and answers nothing of what is stored about consumers.
WRITES = Decision(True, "writes, and shows nothing that is stored")
#: As GRANTED, of whom it names. Its scores follow from a graph of all consumers whom the tenant's own purpose
#: covers (KITH_INTELLIGENCE_PURPOSE), of whom a score names none.
LEARNED = Decision(True, "names only consumers who have granted the purpose", asked=True)
LEARNED_ITSELF = Decision(True, "names only consumers who have granted the purpose")
#: It has sums, counts or extremes over all consumers.
SUMS = Decision(False, "sums up all consumers, so it cannot leave out those who have not granted the purpose")
#: It shows how Kith works: messages as they were sent, acts on anybody, figures of the whole installation.
INTERNAL = Decision(
    False, "is about the installation, and about consumers whether or not they granted the purpose"
)
#: For a route without a declaration: a forgotten one shows nobody.
UNDECIDED = Decision(False, "does not state what it shows to credentials that are bound to a purpose")
