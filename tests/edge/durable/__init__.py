"""Proof of edge/durable: nothing committed is lost."""
