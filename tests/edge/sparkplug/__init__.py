"""Sparkplug tested."""
