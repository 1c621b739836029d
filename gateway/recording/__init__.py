"""What becomes of a poll before it may be sent: a record in the journal, and a date."""
