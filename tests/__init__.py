"""Proof: real peers on loopback first, verified fakes second."""
