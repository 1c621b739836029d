"""Buses against real pseudo-terminals and sockets: no answer is ever taken for another."""
