"""The link to microcontrollers: framing, SMP, images, updates. (Empty until that capability comes.)"""
