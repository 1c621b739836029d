"""Polling: when each group is due, which silent device is left alone, and what is recorded of it."""
