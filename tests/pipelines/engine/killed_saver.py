"""Saves checkpoints until it is killed, and says each one that is durable: `python -m … PATH`."""

from __future__ import annotations

import sys
from pathlib import Path

from pipelines.engine.checkpoint import Checkpoint
from tests.pipelines.engine.blocks import block, incident

if __name__ == "__main__":
    checkpoint = Checkpoint(Path(sys.argv[1]))
    saved = checkpoint.load()
    n = saved.position if saved else 0
    while True:
        n += 1
        checkpoint.stage([block(n)])
        checkpoint.save(n, {"engine": n.to_bytes(4, "big") * 1000}, [block(n)], [incident(n)])
        sys.stdout.write(f"{n}\n")
        sys.stdout.flush()
