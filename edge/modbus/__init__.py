"""Modbus data: registers become values of points, and back."""
