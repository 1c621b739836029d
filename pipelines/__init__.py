"""The process at the centre: front, log, reader, windows, checkpoint, followers, queries."""
