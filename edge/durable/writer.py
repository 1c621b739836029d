"""The journal's writer thread: commits what is queued, makes room, keeps what is in force."""

from __future__ import annotations

import contextlib
import enum
import secrets
import threading
from typing import TYPE_CHECKING

import msgspec

from edge.durable import eviction, identity, sqlitefile
from edge.durable.context import Context, instant_of, records
from edge.durable.lost import Lost
from edge.durable.queue import Queue
from edge.durable.sqlitefile import Damaged, Row
from edge.errors import StorageError, StorageFull
from edge.model.record import EpochRecord, PollRecord, Record, TombstoneRecord, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from edge.durable.segments import Segments

_TAIL_ROWS = 200
_RECORD_BYTES_MAX = 256 << 10
_KINDS = {kind: int(kind.__struct_config__.tag) for kind in Record.__args__}


class State(enum.StrEnum):
    """How the writer stands."""

    WRITING = "writing"
    FULL = "full"
    FAILED = "failed"
    CLOSED = "closed"


class Writer:
    """State shared under `changed` (a re-entrant lock); whatever touches `segments` runs in its thread alone.

    The attributes without an underscore are the journal's to read, under `changed`.
    """

    def __init__(
        self,
        directory: Path,
        segments: Segments,
        *,
        quota_bytes: int,
        segment_bytes: int,
        queue_bytes: int,
        commit_s: float,
        progress: Callable[[int], None],
    ) -> None:
        """Take over `segments`; nothing is written yet."""
        self.changed = threading.Condition()
        self.context = Context()
        self.hint = identity.load_hint(directory)
        self.queue = Queue(segments.next_offset, segments.newest_bytes, segment_bytes, queue_bytes)
        self.state, self.error = State.WRITING, ""
        if segments.is_full:
            self.state, self.error = State.FULL, f"{directory}: no space left"
        self.committed, self.oldest = segments.next_offset, segments.oldest
        self.acknowledged = min(self.hint.acknowledged, self.committed)
        self._settled = self.acknowledged
        """Acknowledged before the last round: what was found damaged since, and lies above, may not have arrived."""
        self.refused = 0
        self.size_bytes, self.quota_bytes = segments.size_bytes, quota_bytes
        self.segments = segments
        self.expire_t_ns: int | None = None
        self.steps = 0
        """Rounds of committing and making room that were completed."""
        self._directory, self._commit_s, self._progress = directory, commit_s, progress
        self.tombstones = Lost()
        self._salvages_told = 0
        self._urgent = self._closing = False
        self._reader = segments.reader()
        self._thread = threading.Thread(target=self._run, name="edge.durable.journal", daemon=True)

    def begin(self, boot: str, mono_ns: int) -> EpochRecord:
        """Learn what the files say, begin an epoch, start the thread."""
        for offset, record in records(self._reader.marked()):
            self.context.take(offset, record)
            if isinstance(record, TombstoneRecord):
                self.tombstones.take(offset, record)
        self.context.reserve_schedules(self.hint.next_schedule)
        self._finish_eviction()
        epoch = self._new_epoch(boot, mono_ns)
        if self.queue.wants_roll:
            self.context.take(epoch.first, epoch)
            self._roll()  # the head's first record is the epoch
        else:
            self._put(epoch)
        self._tell_damage()
        self._tell_holes()
        self._thread.start()
        self.flush()
        return epoch

    def append(self, record: Record) -> int:
        """See `Journal.append`."""
        data = encode(record)
        if len(data) > _RECORD_BYTES_MAX:
            raise ValueError(f"a record of {len(data)} bytes: {_RECORD_BYTES_MAX} is the most")
        with self.changed:
            if self.state in {State.FAILED, State.CLOSED}:
                raise StorageError(f"journal {self.state}: {self.error}")
            if not self.queue.has_room(len(data)):
                self.refused += 1
                raise StorageFull(f"{self.queue.queued_bytes} bytes wait for the card: {self.error or 'it is slow'}")
            return self._put(record, data)

    def flush(self) -> int:
        """See `Journal.flush`."""
        with self.changed:
            self._urgent = True
            self.changed.notify_all()
            return self.queue.next_offset

    def close(self) -> None:
        """See `Journal.close`."""
        with self.changed:
            if self.state is State.CLOSED:
                return
            self._closing = True
            self.changed.notify_all()
        self._thread.join()
        with self.changed:
            left, state, self.state = self.queue.queued_rows, self.state, State.CLOSED
        self._reader.close()
        self.segments.close()
        if left and state is State.FULL:
            raise StorageFull(f"{left} records were not committed: {self.error}")

    def _new_epoch(self, boot: str, mono_ns: int) -> EpochRecord:
        epoch, first = secrets.randbits(64), self.queue.next_offset
        if not self.context.epochs:
            return EpochRecord(epoch, first, boot, mono_ns)
        former = self.context.epochs[-1]
        return EpochRecord(epoch, first, boot, mono_ns, former.epoch, former.boot, self._last_instant(former))

    def _last_instant(self, former: EpochRecord) -> int:
        tail = max(self.segments.next_offset - _TAIL_ROWS, former.first)
        instants = (instant_of(record) for _, record in records(self._reader.read(tail, limit_rows=_TAIL_ROWS)))
        return max((instant for instant in instants if instant is not None), default=former.mono_ns)

    def _put(self, record: Record, data: bytes | None = None) -> int:
        if self.queue.wants_roll:
            self._roll()
        offset = self.queue.put(Row(data or encode(record), _KINDS[type(record)]))
        if not isinstance(record, PollRecord):
            self.context.take(offset, record)
        if isinstance(record, TombstoneRecord):
            self.tombstones.take(offset, record)
        if not self._urgent and self.queue.queued_bytes * 2 > self.queue.limit_bytes:
            self._urgent = True
            self.changed.notify_all()
        return offset

    def _put_all(self, new: Iterable[Record]) -> None:
        """Put records of our own; they are few, and pass the queue's limit."""
        with self.changed:
            for record in new:
                self._put(record)

    def _roll(self) -> None:
        first = self.queue.roll()
        for record in self.context.repeats(first):
            self.context.take(self.queue.put(Row(encode(record), _KINDS[type(record)])), record)

    def _run(self) -> None:
        closing = False
        while not closing and self.state is not State.FAILED:
            with self.changed:
                self.changed.wait_for(lambda: self._urgent or self._closing, self._commit_s)
                self._urgent, closing = False, self._closing
            self._attempt(closing)
            with self.changed:
                self.steps += 1
                self.changed.notify_all()

    def _attempt(self, closing: bool) -> None:
        """Make one round; every error becomes a state: a thread that ended unseen would record nothing, for good."""
        try:
            self._step(closing)
            self._become(State.WRITING, "")
        except (StorageFull, Damaged) as error:
            self._become(State.FULL, str(error))  # a damaged newest file is salvaged by the next attempt
        except StorageError as error:
            self._become(State.FAILED, str(error))
        except Exception as error:  # noqa: BLE001 # this thread has no supervisor: whoever waits for `progress` is told
            self._become(State.FAILED, f"{type(error).__name__}: {error}")

    def _step(self, closing: bool) -> None:
        """Tell damage, commit, make room."""
        acknowledged = self.acknowledged
        self.segments.repair()
        self._tell_damage()
        self._commit()
        self._tell_damage()
        self._settled = acknowledged
        while (reason := self._must_evict()) is not None:
            self._evict(reason)
        if closing:
            self._try_hint()

    def _commit(self) -> None:
        while True:
            with self.changed:
                part = self.queue.seal()
            if part is None:
                return
            try:
                first = self.segments.roll(part.rows) if part.roll else self.segments.append_many(part.rows)
            except StorageFull:
                if not self._drop_acknowledged():
                    raise
                continue
            assert first == part.first, "nothing but this thread writes"
            size_bytes = self.segments.size_bytes
            with self.changed:
                self.queue.done()
                self.committed, self.size_bytes = self.segments.next_offset, size_bytes
                self.changed.notify_all()
            self._progress(self.committed)
            if part.roll:
                self._try_hint()

    def _become(self, state: State, error: str) -> None:
        with self.changed:
            changed = state is not self.state
            self.state, self.error = state, error
            self.changed.notify_all()
        if changed:
            self._progress(self.committed)

    def _must_evict(self) -> str | None:
        """Say why the oldest file has to go, if it has to."""
        if len(self.segments.files) < 2:
            return None
        if self.size_bytes > self.quota_bytes:
            return "quota"
        with self.changed:
            before, self.expire_t_ns = self.expire_t_ns, None
        if before is None or not self._is_older(sqlitefile.first_of(self.segments.files[1]) - 1, before):
            return None
        with self.changed:
            self.expire_t_ns = self.expire_t_ns or before  # the next file may be older too
        return "age"

    def _is_older(self, offset: int, t_ns: int) -> bool:
        rows = list(records(self._reader.read(offset, limit_rows=1)))
        epoch = self.context.epoch_at(offset)
        instant = instant_of(rows[0][1]) if rows else None
        if epoch is None or instant is None:
            return False
        date_ns = self.context.date_ns(epoch.boot, offset, instant)
        return date_ns is not None and date_ns < t_ns

    def _evict(self, reason: str) -> None:
        first, end = self.segments.oldest, sqlitefile.first_of(self.segments.files[1])
        unacknowledged = max(first, min(self.acknowledged, end))
        if unacknowledged < end:
            stones = eviction.tombstones(self._reader, self.context, unacknowledged, end, reason)
            self.segments.repair()  # what counting found damaged can't be told any more once the file is gone
            self._tell_damage()
            stones = self.tombstones.told_anew(stones, end, self.acknowledged)
            self._put_all([*eviction.datings_for(stones, self.context), *stones])
            self._commit()
        self._drop(unacknowledged, end)

    def _drop(self, unacknowledged: int, end: int) -> None:
        """Count first, then drop: a file that a crash leaves between is dropped uncounted by `_finish_eviction`."""
        gone = end - max(unacknowledged, self.hint.evicted)
        if gone > 0:
            self._save_hint(lost=self.hint.lost + gone, evicted=end)
        self._let_go()

    def _let_go(self) -> None:
        try:
            self.segments.drop_oldest()
        finally:  # where it is gone, and only that was not made durable, nothing of it may be promised
            with self.changed:
                self.oldest, self.size_bytes = self.segments.oldest, self.segments.size_bytes
        with self.changed:
            self.context.forget(self.oldest)
            self.tombstones.forget(self.oldest)
            before = self.context.before(self.oldest)
            known = self.hint.before
        if before is not None and before != known:
            self._try_hint(before=before)

    def _drop_acknowledged(self) -> bool:
        """No space for a commit: let the oldest file go if the centre has all of it."""
        if len(self.segments.files) < 2 or sqlitefile.first_of(self.segments.files[1]) > self.acknowledged:
            return False
        self._let_go()
        return True

    def _finish_eviction(self) -> None:
        """Drop the files whose tombstones a crash left committed."""
        stones = (record for _, record in records(self._reader.marked()) if isinstance(record, TombstoneRecord))
        end = max((stone.end for stone in stones if stone.reason != eviction.DAMAGED), default=0)
        while len(self.segments.files) > 1 and sqlitefile.first_of(self.segments.files[1]) <= end:
            first, until = self.segments.oldest, sqlitefile.first_of(self.segments.files[1])
            self._drop(max(first, min(self.acknowledged, until)), until)

    def _tell_damage(self) -> None:
        """A salvaged file may miss its head, or what changed since: say all of it again."""
        salvages = self.segments.salvages[self._salvages_told :]
        if not salvages:
            return
        self._salvages_told += len(salvages)
        with self.changed:
            ranges = [(first, end) for salvage in salvages for first, end in salvage.lost if end > self._settled]
            boot = self.context.epochs[-1].boot
            self._put_all([eviction.damage(first, end, boot) for first, end in ranges])
            self._put_all(self.context.repeats(self.queue.next_offset))

    def _tell_holes(self) -> None:
        """A file that was removed while the journal was closed is told like one that was destroyed."""
        boot = self.context.epochs[-1].boot
        for first, end in self.segments.holes():
            if end > self.acknowledged and not self.tombstones.damage_is_told(first, end):
                self._put_all([eviction.damage(first, end, boot)])

    def _try_hint(self, **changes: tuple[int, int]) -> None:
        """Save what is harmless if it is old; on a full disk it is kept for the next time."""
        with contextlib.suppress(StorageFull):
            self._save_hint(**changes)
            return
        self.hint = self._new_hint(**changes)

    def _save_hint(self, **changes: int | tuple[int, int]) -> None:
        hint = self._new_hint(**changes)
        identity.save_hint(self._directory, hint)
        self.hint = hint

    def _new_hint(self, **changes: int | tuple[int, int]) -> identity.Hint:
        with self.changed:
            next_schedule = self.context.new_schedule()
            return msgspec.structs.replace(
                self.hint, acknowledged=self.acknowledged, next_schedule=next_schedule, **changes
            )
