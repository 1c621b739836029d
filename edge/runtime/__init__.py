"""What a process needs around it: clock, settings, supervisor, control socket, broker session."""
