"""What outlives a power cut: a sequence of SQLite files, and the journal written in it."""
