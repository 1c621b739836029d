"""Proof of edge/modbus: registers, scaling, plans."""
