"""The gateway's journal: every record, durable, in order, under an identity that no restart repeats.

Invariants (docs/wire.md §1-2 has the identity and the dates):
    * A record's identity is (journal, epoch, offset); `open` begins an epoch, whose record is its first.
    * `committed` never passes a record that is not on the medium; a record is never changed.
    * Each file opens with the epoch, schedules, anchor and dating in force, as ordinary records.
    * Unacknowledged records go only after their tombstone is committed; `lost` counts them for good. The tombstones
      held name all that went since the last acknowledgement, one for each epoch (docs/wire.md §5.1).
Write: `append` gives the offset and returns; a writer thread commits every `commit_s`, or at once after `flush` or
    when half the queue is used. What a power cut takes is what was appended since the last commit.
Full queue: `append` raises StorageFull and the record is not taken (the poller counts it). Full disk: state `full`;
    acknowledged files go, the queue is tried again at each commit, nothing committed is touched; it opens so, too.
    Any other error: state `failed` for good, since an fsync tried again may lie; the process must end and start anew.
Quota: whole files, oldest first. It may be exceeded by one queue and one write-ahead log.
Recover: `Segments` salvages damaged files; what they lost unacknowledged gets a tombstone "damaged".
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import msgspec

from edge.durable.context import records
from edge.durable.identity import Identity, find, identify, load_hint
from edge.durable.segments import Segments
from edge.durable.writer import State, Writer
from edge.errors import Refused
from edge.model.record import ScheduleRecord

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable
    from pathlib import Path

    from edge.durable.salvage import Salvage
    from edge.model.point import Group
    from edge.model.record import DatingRecord, EpochRecord, Record

__all__ = ["Journal", "State", "Status"]

_LEAST_SEGMENT_BYTES = 32 << 10


@dataclass(frozen=True, slots=True)
class Status:
    """What an operator is shown."""

    state: State
    error: str
    committed: int
    oldest: int
    acknowledged: int
    queued_records: int
    queued_bytes: int
    refused: int
    """Records not taken since the journal was opened, because the queue was full."""
    lost: int
    size_bytes: int
    quota_bytes: int
    salvages: tuple[Salvage, ...]


class Journal:
    """One edge node's records. Everything but `open`, `wait` and `close` returns at once; any thread may call it."""

    def __init__(self, identity: Identity, epoch: EpochRecord, writer: Writer) -> None:
        """Use `Journal.open`."""
        self.identity = identity
        self.epoch = epoch
        """The epoch that this opening began."""
        self._writer = writer
        self._changed = writer.changed
        self._reader, self._reader_lock = writer.segments.reader(), threading.Lock()

    @classmethod
    def open(
        cls,
        directory: Path,
        identity: tuple[str, str],
        *,
        boot: str,
        mono_ns: int,
        quota_bytes: int = 1 << 30,
        segment_bytes: int = 16 << 20,
        page_bytes: int = 1024,
        queue_bytes: int = 4 << 20,
        commit_s: float = 1.0,
        progress: Callable[[int], None] = lambda _committed: None,
    ) -> Self:
        """Open the journal in `directory`, making it where there is none, and begin an epoch.

        Args:
            directory: holds the journal and nothing else.
            identity: (group, edge node) that it belongs to.
            boot: id of this boot.
            mono_ns: now, on this boot's monotonic clock.
            quota_bytes: what its files may take together.
            segment_bytes: size of one file; an eighth of the quota at most.
            page_bytes: SQLite page size of new files.
            queue_bytes: what may wait for its commit.
            commit_s: longest time from `append` to durable.
            progress: called from the writer thread with `committed`, after each commit and when the state changes.

        Raises:
            Refused: it belongs to another edge node, or another process has it open.
            StorageError: it can't be opened; StorageFull where there is no space.
        """
        segment_bytes = max(min(segment_bytes, quota_bytes // 8), _LEAST_SEGMENT_BYTES)
        spare = load_hint(directory).acknowledged
        segments = Segments(directory, page_bytes=page_bytes, segment_bytes=None, spare=spare)
        try:
            found = _identify(directory, identity, segments)
            writer = Writer(
                directory,
                segments,
                quota_bytes=quota_bytes,
                segment_bytes=segment_bytes,
                queue_bytes=queue_bytes,
                commit_s=commit_s,
                progress=progress,
            )
            return cls(found, writer.begin(boot, mono_ns), writer)
        except BaseException:
            segments.close()
            raise

    def __enter__(self) -> Self:
        """Use as a context that closes."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    @property
    def journal(self) -> uuid.UUID:
        """The journal's own id."""
        return self.identity.journal

    @property
    def committed(self) -> int:
        """Offset up to which everything is durable."""
        return self._writer.committed

    @property
    def oldest(self) -> int:
        """Offset from which on records are held."""
        return self._writer.oldest

    @property
    def acknowledged(self) -> int:
        """The last position given to `acknowledge`."""
        return self._writer.acknowledged

    @property
    def lost(self) -> int:
        """Unacknowledged records evicted from this journal, ever."""
        return self._writer.hint.lost

    @property
    def state(self) -> State:
        """How the writer stands."""
        return self._writer.state

    @property
    def status(self) -> Status:
        """All that an operator is shown, at one moment."""
        with self._changed:
            writer = self._writer
            return Status(
                writer.state,
                writer.error,
                writer.committed,
                writer.oldest,
                writer.acknowledged,
                writer.queue.queued_rows,
                writer.queue.queued_bytes,
                writer.refused,
                writer.hint.lost,
                writer.size_bytes,
                writer.quota_bytes,
                tuple(writer.segments.salvages),
            )

    def append(self, record: Record) -> int:
        """Take a record; return its offset. It is durable once `committed` is above it. Never waits for the card.

        Raises:
            StorageFull: the queue is full; the record is not taken.
            StorageError: the journal has failed or is closed.
            ValueError: the record is larger than any record may be.
        """
        return self._writer.append(record)

    def declare(self, group: Group, mono_ns: int) -> int:
        """Say that `group` is polled from now on; return its schedule's id, the same one if nothing has changed."""
        with self._changed:
            schedule = self._writer.context.find(group)
            if schedule is None:
                schedule = self._writer.context.new_schedule()
                self.append(ScheduleRecord(schedule, mono_ns, group))
            return schedule

    def end(self, key: tuple[str, str, str], mono_ns: int) -> None:
        """Say that the group `key` (site, device, group) is polled no more, if it was."""
        with self._changed:
            known = self._writer.context.in_force.get(key)
            if known is not None:
                ended = msgspec.structs.replace(known.group, period_ns=0)
                self.append(ScheduleRecord(self._writer.context.new_schedule(), mono_ns, ended))

    def declared(self) -> dict[tuple[str, str, str], int]:
        """Schedules in force: (site, device, group) → id."""
        with self._changed:
            return {key: record.schedule for key, record in self._writer.context.in_force.items()}

    @property
    def schedules(self) -> dict[int, Group]:
        """Every schedule that a record still held may name, by id."""
        with self._changed:
            return dict(self._writer.context.schedules)

    def stands(self, tombstone: int) -> bool:
        """Tell whether no later tombstone says what the one at this offset says."""
        with self._changed:
            return self._writer.tombstones.stands(tombstone)

    def flush(self) -> int:
        """Have everything appended so far committed at once; return the `committed` that will say so."""
        return self._writer.flush()

    def wait(self, committed: int, timeout_s: float) -> bool:
        """Wait until everything below the offset `committed` is durable; False if time runs out. Not for a loop."""
        with self._changed:
            return self._changed.wait_for(lambda: self._writer.committed >= committed, timeout_s)

    def acknowledge(self, position: int) -> None:
        """Learn that the centre has everything below `position`; a lower one than before is obeyed."""
        with self._changed:
            self._writer.acknowledged = min(position, self._writer.queue.next_offset)

    def expire(self, t_ns: int) -> None:
        """Let files go whose last record is dated before `t_ns`, with the next commit."""
        with self._changed:
            self._writer.expire_t_ns = t_ns

    def lineage(self) -> list[tuple[int, int]]:
        """(epoch, first offset) of every epoch still held and the one before, oldest first."""
        with self._changed:
            context, before = self._writer.context, self._writer.hint.before
            spans = [(epoch.epoch, epoch.first) for epoch in context.epochs]
            known = context.before(self._writer.oldest) is not None
            if not known and before is not None and before[0] == context.epochs[0].previous:
                spans.insert(0, before)
            return spans

    def epoch_at(self, offset: int) -> EpochRecord | None:
        """The epoch that the record at `offset` belongs to."""
        with self._changed:
            return self._writer.context.epoch_at(offset)

    def dating_at(self, boot: str, offset: int) -> DatingRecord | None:
        """The dating for instants of `boot` in the record at `offset`; it counts once it is committed."""
        with self._changed:
            return self._writer.context.dating_at(boot, offset)

    def date_ns(self, boot: str, offset: int, mono_ns: int) -> int | None:
        """Date an instant of `boot` in the record at `offset`; None = undatable. [ns UTC, whole milliseconds]."""
        with self._changed:
            return self._writer.context.date_ns(boot, offset, mono_ns)

    def read(self, from_offset: int, max_records: int = 1000, max_bytes: int = 1 << 20) -> list[tuple[int, Record]]:
        """Read committed records from `from_offset` on (from `oldest`, if that is later); empty at the end.

        Any thread, one at a time. Damaged rows are left out.

        Raises:
            StorageError: the medium failed.
        """
        with self._reader_lock:
            return list(records(self._reader.read(from_offset, max_bytes, max_records)))

    def close(self) -> None:
        """Commit what is queued, stop the writer, close the files.

        Raises:
            StorageFull: there was no space for what was queued; it is gone, and was never committed.
        """
        with self._reader_lock:
            self._reader.close()
        self._writer.close()


def _identify(directory: Path, names: tuple[str, str], segments: Segments) -> Identity:
    """A journal with records has an identity already, and a new one would have them stored twice."""
    if find(directory) is None and segments.next_offset > 0:
        raise Refused(f"{directory}: records without a readable identity; restore identity.json from a backup")
    return identify(directory, *names)
