"""Sparkplug B 3.0: topics, payloads, births, the body that carries identity, session rules. No input or output."""
