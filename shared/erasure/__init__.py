"""Erasure: the ledger, its records, and the gate that hides erased consumers of a restored database."""
