"""What an attempt changes in the receipt that was sent. Pure."""

from shared.access.apps.compliance import KEPT
from shared.runtime.protocols import Document


def receipt_update(attempt: Document) -> Document:
    """The update of a receipt after an attempt, which is an entry of the log (``entry_of``)."""
    ended: Document = {"settled": attempt["at"], "expires": attempt["at"] + KEPT}
    changed: Document = {"attempts": attempt["attempt"]}
    if attempt["outcome"] == "delivered":
        changed |= {**ended, "state": "delivered", "endpoint": attempt["endpoint"]}
        return {"$set": changed, "$unset": {"reason": ""}}
    changed["reason"] = attempt.get("error") or f"the endpoint answered {attempt.get('status')}"
    if attempt["outcome"] == "given_up":
        changed |= {**ended, "state": "failed"}
    return {"$set": changed}
