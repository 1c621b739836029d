"""A process that writes a journal until it is killed, and says on stdout what it has seen committed."""

from __future__ import annotations

import random
import sys
from pathlib import Path

from tests.edge.durable.material import group, open_journal, poll


def main(directory: Path, seed: int) -> None:
    draw = random.Random(seed)

    def say(committed: int) -> None:
        sys.stdout.write(f"{committed}\n")
        sys.stdout.flush()

    journal = open_journal(
        directory, boot=f"b{seed}", segment_bytes=40_000, quota_bytes=400_000, commit_s=0.002, progress=say
    )
    schedule = journal.declare(group(), 0)
    sys.stdout.write(f"epoch {journal.epoch.epoch} {journal.epoch.first}\n")
    n = 0
    while True:
        for _ in range(draw.randrange(1, 80)):
            journal.append(poll(schedule, n, padding="x" * draw.randrange(1, 90)))
            n += 1
        committed = journal.flush()
        journal.wait(committed, 10)
        if draw.random() < 0.3:
            journal.acknowledge(committed - draw.randrange(3000))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
