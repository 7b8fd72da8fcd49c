"""Pages without the consumers who have not granted a purpose."""

from services.relations.queries import Queries
from shared.http.caller import Caller
from shared.runtime.protocols import Document


def consenting(queries: Queries, tenant: str, page: Document, caller: Caller, purpose: str | None) -> Document:
    """``page`` without consumers who have not granted ``purpose``."""
    # For a credential that is bound to the purpose, the page was read without the others: nobody is missing.
    return page if caller.purpose is not None else queries.consenting(tenant, page, purpose)
