"""Drivers: what one poll of a group yields, whatever the line does."""
