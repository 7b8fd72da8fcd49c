"""Who is erased: the ledger, its records, and the gate that keeps erased consumers of a restored database back."""
