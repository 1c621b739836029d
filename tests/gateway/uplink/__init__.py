"""The uplink tested: batches alone, then sessions over a real broker with a model of the centre."""
