"""Drivers: a group of points becomes requests, answers become an outcome and values."""
