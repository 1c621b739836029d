"""The gateway process: builds its parts, starts them in order, ends them in order."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from edge.durable.journal import Journal, State
from edge.errors import Refused, StorageError, StorageFull
from edge.runtime.clock import process_clock
from edge.runtime.control import serve
from edge.runtime.ready import event, ready, stopping
from edge.runtime.supervisor import Supervisor, stop_on_signals
from gateway.broker import make_uplink
from gateway.buses import BusOwner, groups_of
from gateway.config import load
from gateway.crosscheck import SOCKET
from gateway.health import status, waits
from gateway.lag import Lag
from gateway.recording.recorder import Recorder
from gateway.recording.sources import sources
from gateway.recording.timebase import Timebase
from gateway.uplink.uplink import State as Delivery

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from edge.runtime.clock import Clock
    from gateway.config import Configuration
    from gateway.uplink.uplink import Uplink

FAREWELL_S = 3.0
"""How long a stop waits for the card, and then for the acknowledgement of what is committed."""
_LOOK_S = 0.05
_TELL_S = 2.0


def run(config_path: Path) -> None:
    """Run the gateway of a configuration file until SIGTERM or SIGINT.

    Raises:
        ConfigurationError: the file, or a profile.
        Refused: the journal belongs to another edge node, or another process has it.
        StorageError: the journal could not be opened, or failed while running.
    """
    configuration = load(config_path)
    clock = process_clock(configuration.file.clock.sources)
    asyncio.run(Gateway(configuration, clock).run())


class Gateway:
    """One edge node; construction touches nothing."""

    def __init__(self, configuration: Configuration, clock: Clock) -> None:
        """Keep what it is made of."""
        self._configuration, self._clock = configuration, clock
        self._stop = asyncio.Event()
        self._failure: StorageError | None = None
        self._uplink: Uplink | None = None

    async def run(self) -> None:
        """Run until asked to stop.

        Raises:
            Refused: see `gateway.app.run`.
            StorageError: the same.
        """
        self._stop = stop_on_signals()
        async with self._journal() as journal, Supervisor(self._clock) as supervisor:
            await self._work(journal, supervisor)
        if self._failure is not None:
            raise self._failure

    async def _work(self, journal: Journal, supervisor: Supervisor) -> None:
        timebase = Timebase(journal, self._clock, sources(self._configuration.file.clock.sources))
        timebase.check()
        owners = self._owners(journal, timebase)
        uplink = self._uplink = make_uplink(self._configuration, journal, timebase, self._clock)
        lag = Lag(journal, timebase, self._clock)

        async def say(_: dict[str, Any]) -> dict[str, Any]:
            await lag.look()
            return status(journal, timebase, owners, uplink, supervisor, lag, self._clock)

        async with serve(self._configuration.state_dir / SOCKET, {"status": say}):
            supervisor.start("gateway.uplink", uplink.run)
            supervisor.start("gateway.timebase", timebase.run)
            polls = [f"gateway.bus[{owner.name}].poll" for owner in owners]
            for name, owner in zip(polls, owners, strict=True):
                supervisor.start(name, owner.poller.run)
            supervisor.start("gateway.tell", lambda: self._tell(lambda: waits(journal, timebase, owners, uplink, lag)))
            ready(journal=str(journal.journal), epoch=f"{journal.epoch.epoch:016x}")
            await self._stop.wait()
            stopping()
            for name in polls:
                await supervisor.stop(name)
            await self._farewell(journal, uplink)
        await lag.end()

    async def _tell(self, waiting: Callable[[], list[dict[str, str]]]) -> None:
        """Say on stderr what is waited for and what no longer, for whoever reads the log."""
        told: set[str] = set()
        while True:
            await self._clock.sleep(_TELL_S)
            now = {each["for"]: each["why"] for each in waiting()}
            for name in sorted(now.keys() - told):
                event("waiting", on=name, why=now[name])
            for name in sorted(told - now.keys()):
                event("waits_no_more", on=name)
            told = set(now)

    def _owners(self, journal: Journal, timebase: Timebase) -> list[BusOwner]:
        """Build the buses; end the groups that are configured no more."""
        configuration, clock = self._configuration, self._clock
        configured = {group.key for _, _, group in groups_of(configuration)}
        for key in journal.declared().keys() - configured:
            journal.end(key, clock.mono_ns())
        recorder = Recorder(journal, self._fail)
        return [
            BusOwner(settings, configuration, journal, recorder, timebase, clock) for settings in configuration.file.bus
        ]

    async def _farewell(self, journal: Journal, uplink: Uplink) -> None:
        """Have the last records committed, and delivered if that is quickly done; the rest waits in the journal."""
        until_s = self._clock.real_s() + FAREWELL_S
        end = journal.flush()
        while journal.committed < end and self._failure is None and self._clock.real_s() < until_s:
            await self._clock.sleep(_LOOK_S)
        uplink.committed()
        while uplink.state is Delivery.DELIVERING and uplink.status()["backlog"] and self._clock.real_s() < until_s:
            await self._clock.sleep(_LOOK_S)

    @contextlib.asynccontextmanager
    async def _journal(self) -> AsyncIterator[Journal]:
        journal = self._opened = self._open(asyncio.get_running_loop())
        try:
            yield journal
        finally:
            try:
                await asyncio.to_thread(journal.close)
            except StorageFull as error:
                event("not_committed", error=error)

    def _open(self, loop: asyncio.AbstractEventLoop) -> Journal:
        settings, state_dir = self._configuration.file.gateway, self._configuration.state_dir

        def progress(_committed: int) -> None:  # in the writer's thread
            loop.call_soon_threadsafe(self._progressed)

        try:
            state_dir.mkdir(parents=True, exist_ok=True)
            return Journal.open(
                state_dir / "journal",
                (settings.group, settings.node),
                boot=self._clock.boot,
                mono_ns=self._clock.mono_ns(),
                quota_bytes=settings.journal_bytes,
                commit_s=settings.commit_s,
                progress=progress,
            )
        except OSError as error:
            raise Refused(
                f"{error.filename or state_dir}: {error.strerror}; make a folder that this user may write, "
                "or name another as [gateway] state_dir"
            ) from error

    def _progressed(self) -> None:
        if self._opened.state is State.FAILED:
            self._fail(StorageError(f"the journal failed: {self._opened.status.error}"))
        if self._uplink is not None:
            self._uplink.committed()

    def _fail(self, error: StorageError) -> None:
        """End the process: on a medium that failed once, nothing may be tried again without a new opening."""
        if self._failure is None:
            self._failure = error
            event("journal_failed", error=error)
            self._stop.set()
