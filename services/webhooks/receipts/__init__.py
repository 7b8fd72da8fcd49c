"""What applications must be told, as erasures, and the receipts that say when they were."""
