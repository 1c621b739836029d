"""A simulated city: devices that answer Modbus from the same profiles, with their ground truth."""
