"""Values that travel: points, qualities, records."""
