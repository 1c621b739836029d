"""Tests of reading the store."""
