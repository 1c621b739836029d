"""The contract between gateway and centre: what a point is, how it is said on the wire, delivered, kept."""
