"""The front door: command line, demo, simulated city, pictures, proof."""
