"""The contract tested."""
