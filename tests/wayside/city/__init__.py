"""The simulated city, read by a gateway's own buses and drivers."""
