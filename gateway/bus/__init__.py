"""Buses: one owner and one call to a wire, with the fence against late answers."""
