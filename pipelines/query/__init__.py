"""Reading the embedded store: rows, aggregates with their completeness, and the ledger."""
