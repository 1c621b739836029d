"""A process that writes a journal of several files, says what is committed, and ends, or waits to be killed."""

from __future__ import annotations

import sys
from pathlib import Path
from signal import pause

from tests.edge.durable.material import commit, group, open_journal, poll


def main(directory: Path, *, acknowledged: bool, orderly: bool) -> None:
    journal = open_journal(directory, segment_bytes=300_000)
    schedule = journal.declare(group(), 0)
    for n in range(9_000):
        journal.append(poll(schedule, n, padding="x" * 80))
        if n % 500 == 0:
            commit(journal)
            journal.acknowledge(journal.committed if acknowledged else 0)
    commit(journal)
    if orderly:
        journal.close()
    sys.stdout.write(f"{journal.committed}\n")
    sys.stdout.flush()
    if not orderly:
        pause()


if __name__ == "__main__":
    main(Path(sys.argv[1]), acknowledged=sys.argv[2] == "1", orderly=sys.argv[3] == "1")
