"""The process on the Pi: buses, drivers, polling, recording, uplink."""
