"""Delivery acknowledged from end to end: pure state machines of both ends (docs/wire.md §5)."""
