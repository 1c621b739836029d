"""The link to microcontrollers: framing, SMP, images, updates; empty until that capability comes."""
