"""The process at the centre: `wayside central run`.

Threads: `front` (the broker → the log), `reader` (the log → checkpoint), one follower for each database; on the loop
the host's connection and the control socket. Only the log and the checkpoint last. A thread that falls ends the
process with its error: everything goes on from there when it is started again.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from typing import TYPE_CHECKING, Any

from edge.errors import Refused
from edge.runtime.clock import process_clock
from edge.runtime.control import serve
from edge.runtime.ready import event, ready, stopping
from edge.runtime.supervisor import Supervisor, stop_on_signals
from pipelines.config import SOCKET, load
from pipelines.control import Control
from pipelines.crew import Crew
from pipelines.engine.checkpoint import CheckpointReader
from pipelines.engine.reader import warm
from pipelines.ingest.broker import HostBroker
from pipelines.ingest.front import Front
from pipelines.ingest.host import Host
from pipelines.ingest.log import Log, State
from pipelines.reading import Reading
from pipelines.sinks.embedded import STORE_NAME, EmbeddedStore
from pipelines.sinks.follower import Follower

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge.runtime.clock import Clock
    from pipelines.config import Configuration
    from pipelines.sinks.follower import Target

LAG_S = 5.0
"""A reader so far behind the log is pressure: nothing more is granted. [s, real]"""
_FRONT_END_S, _READER_END_S, _FOLLOWER_END_S = 3.0, 4.0, 1.0
"""What each may take of the ten seconds in which the process ends."""


def run(config_path: Path) -> None:
    """Run the centre until SIGTERM.

    Raises:
        WaysideError: it can't start, or a thread has fallen.
    """
    configuration = load(config_path)
    asyncio.run(Centre(configuration, process_clock(["host"])).run())


class Centre:
    """Everything that one centre is made of; built first, then started."""

    def __init__(self, configuration: Configuration, clock: Clock) -> None:
        """Open log and checkpoint.

        Raises:
            ConfigurationError: a file that is named can't be read.
            Refused: another process runs in this state directory, or it can't be made, read or written.
            StorageError: they can't be opened.
        """
        central, directory, address = configuration.file.central, configuration.state_dir, configuration.address()
        targets: list[Target] = [EmbeddedStore(directory / STORE_NAME)]
        if configuration.influx:
            from pipelines.sinks.influx import InfluxTarget  # noqa: PLC0415 # a quarter of a start, and rarely needed

            targets += [InfluxTarget(influx, directory) for influx in configuration.influx]
        self._socket = directory / SOCKET
        with _usable(directory):
            self._log = Log(
                directory / "log",
                clock,
                limit_bytes=central.log_bytes,
                keep_ns=configuration.keep_ns,
                covered=lambda: self._reading.saved_position,
                grown=lambda: self._reading.grown(),  # noqa: PLW0108 # made below, from this log
            )
        broker = HostBroker(address, f"wayside-{central.host_id}-host", clock)
        self._host = Host(central.host_id, broker, clock, pressed=self._is_pressed, is_able=self._is_able)
        self._reading = Reading(
            self._log,
            directory / "checkpoint.db",
            self._host,
            clock,
            checkpoint_s=central.checkpoint_s,
            saved=self._saved,
            caught_up=self._host.changed,
        )
        name = f"wayside-{central.host_id}-front"
        self._front = Front(address, name, self._log, clock, changed=self._host.changed)
        source = CheckpointReader(directory / "checkpoint.db")
        self._followers = [Follower(source, target) for target in targets]
        self._clock = clock
        self._control = Control(clock, self._log, self._front, self._reading, self._host, self._followers, source)

    async def run(self) -> None:
        """Run until SIGTERM or until a thread falls.

        Raises:
            BaseException: what a thread has fallen of.
        """
        asked = stop_on_signals()
        crew = Crew()
        stop = asyncio.get_running_loop().create_task(asked.wait(), name="centre.stop")
        warmed = crew.start("warm", warm)
        await _first(stop, crew.fallen, warmed)
        if warmed.done() and not crew.fallen.done():
            await self._serve(crew, stop)
        stop.cancel()
        if crew.fallen.done():
            raise crew.fallen.result()

    async def _serve(self, crew: Crew, stop: asyncio.Task[bool]) -> None:
        threads = {"front": crew.start("front", self._front.run), "reader": crew.start("reader", self._reading.run)}
        for n, follower in enumerate(self._followers):
            threads[f"follower[{n}]"] = crew.start(f"follower[{n}]", follower.run)
        try:
            async with serve(self._socket, self._control.handlers()), Supervisor(self._clock) as supervisor:
                supervisor.start("centre.host", self._host.run)
                ready(position=self._reading.position, log=self._log.next_offset)
                await _first(stop, crew.fallen)
                stopping()
        finally:
            await self._end(crew, threads)

    async def _end(self, crew: Crew, threads: dict[str, asyncio.Future[None]]) -> None:
        """Stop in the direction of the data; what does not end in time is left, since all that lasts is durable."""
        self._front.stop()
        front_ended = await crew.join(threads["front"], _FRONT_END_S)
        self._reading.stop()
        reader_ended = await crew.join(threads["reader"], _READER_END_S)
        for follower in self._followers:
            follower.stop()
        for n in range(len(self._followers)):
            await crew.join(threads[f"follower[{n}]"], _FOLLOWER_END_S)
        late = [name for name, done in threads.items() if not done.done()]
        if late:
            event("threads_left", threads=late)
        if front_ended and reader_ended:
            self._log.close()
            self._front.close()

    def _saved(self) -> None:
        for follower in self._followers:
            follower.notify()

    def _is_pressed(self) -> bool:
        full = self._log.state is State.FULL or bool(self._reading.error)
        return full or self._log.lag_s(self._reading.position) > LAG_S

    def _is_able(self) -> bool:
        return self._front.is_subscribed and self._reading.is_caught_up


@contextlib.contextmanager
def _usable(directory: Path) -> Iterator[None]:
    """Make `directory`, and see that what is in it is ours to read and write.

    Raises:
        Refused: it is not; the message says what to do.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for path in (directory, *directory.iterdir()):
            if not os.access(path, os.R_OK | os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        yield
    except OSError as error:
        advice = (
            "central.state_dir must be a directory that the user of this process may read and write, with all in it"
        )
        raise Refused(f"{error.filename or directory}: {error.strerror}; {advice}") from error


async def _first(*futures: asyncio.Future[Any]) -> None:
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
