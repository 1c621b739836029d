"""From the journal to the broker: births, batches, the session that sends them until they are acknowledged."""
