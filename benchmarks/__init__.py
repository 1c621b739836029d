"""Claims about speed and memory: each checks its answer before it times, beside a named alternative."""
