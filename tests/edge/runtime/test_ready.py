"""What a process says of itself may be lost; what it does may not be lost with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edge.runtime import ready
from edge.runtime.clock import ManualClock
from edge.runtime.supervisor import Supervisor
from tests.edge.runtime.unheard import unheard

_PROCESS = """
import sys
from edge.runtime.ready import event, teller
print(sys.stdin.readline().strip(), flush=True)
event("task_fell")
event("task_fell")
sys.stderr.write("a library's line")
sys.stderr.flush()
print(teller.unsaid, flush=True)
"""


def test_a_line_that_nobody_reads_is_counted() -> None:
    with unheard() as teller:
        ready.event("a")
        ready.event("b")
    assert teller.unsaid == 2


async def test_a_task_is_started_again_where_nobody_reads_that_it_fell() -> None:
    clock, begun = ManualClock(), 0

    async def falls() -> None:
        nonlocal begun
        begun += 1
        raise ValueError("fell")

    with unheard() as teller:
        async with Supervisor(clock) as supervisor:
            supervisor.start("a", falls)
            await clock.advance(100)
            assert supervisor.names == ("a",)
            assert begun == supervisor.fallen["a"].count > 3
    assert teller.unsaid == begun


@pytest.mark.parametrize("closed", [True, False])
def test_a_closed_or_a_full_stderr_is_no_error(monkeypatch: pytest.MonkeyPatch, closed: bool) -> None:
    teller = ready.Teller()
    monkeypatch.setattr(ready, "teller", teller)
    with Path("/dev/full").open("w") as out:
        if closed:
            out.close()
        monkeypatch.setattr(sys, "stderr", out)
        ready.event("a")
        monkeypatch.undo()
        assert teller.unsaid == 1
        if not closed:
            with pytest.raises(OSError, match="No space"):
                out.close()


def test_the_process_ends_as_if_it_had_been_heard() -> None:
    """The interpreter flushes stderr at its end, and makes an exit code of what it finds."""
    with subprocess.Popen(
        [sys.executable, "-c", _PROCESS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        process.stderr.close()
        process.stderr = None
        told, _ = process.communicate(b"go\n", 20)
    assert told.split() == [b"go", b"2"]
    assert process.returncode == 0
