"""Followers of the final rows: the embedded store, InfluxDB, and the line protocol that it reads."""
