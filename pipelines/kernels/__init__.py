"""Kernels of the windows: compiled functions that see arrays and scalars only."""
