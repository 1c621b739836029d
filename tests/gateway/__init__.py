"""The gateway tested."""
