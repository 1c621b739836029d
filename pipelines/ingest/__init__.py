"""From the broker to columns: front, log, frames, births, series; and the host that answers."""
