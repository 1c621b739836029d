"""Proof of edge/runtime: clock, settings, supervisor, control socket."""
