"""Profiles: a device is data."""
