"""Proof of edge/profile: one suite over all profiles, and every mistake a file can have."""
