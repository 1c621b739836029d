"""Delivery tested: the pure model first."""
