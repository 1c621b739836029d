"""From columns to final rows: groups and series, windows, the ledger, the checkpoint that keeps them."""
