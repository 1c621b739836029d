"""Tests of the followers of the final rows."""
