"""A sequence of files keeps what it said it had committed, whatever happens to one of them."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

import pytest

from edge.durable import sqlitefile
from edge.durable.reader import Reader, files_in
from edge.durable.segments import Segments
from edge.durable.sqlitefile import Row
from edge.errors import Refused

if TYPE_CHECKING:
    from pathlib import Path


def rows(count: int, size: int = 100, seed: int = 0) -> list[Row]:
    draw = random.Random(seed)
    return [Row(draw.randbytes(size), kind=int(draw.random() < 0.05)) for _ in range(count)]


def fill(segments: Segments, commits: int, per_commit: int = 50) -> dict[int, bytes]:
    written: dict[int, bytes] = {}
    for n in range(commits):
        batch = rows(per_commit, seed=n)
        first = segments.append_many(batch)
        written.update((first + i, row.data) for i, row in enumerate(batch))
    return written


def everything(directory: Path, from_offset: int = 0) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    with Reader(directory) as reader:
        at = from_offset
        while page := reader.read(at, limit_bytes=10_000):
            found.update((row.offset, row.data) for row in page)
            at = page[-1].offset + 1
    return found


def test_rows_come_back_across_files_and_openings(tmp_path: Path) -> None:
    with Segments(tmp_path, segment_bytes=50_000) as segments:
        written = fill(segments, 40)
        assert len(segments.files) > 3
        assert segments.next_offset == 2000
        assert everything(tmp_path) == written
    with Segments(tmp_path, segment_bytes=50_000) as segments:
        assert (segments.oldest, segments.next_offset) == (0, 2000)
        assert segments.append_many([Row(b"x")]) == 2000
        assert everything(tmp_path, 1990) == {k: v for k, v in written.items() if k >= 1990} | {2000: b"x"}


def test_kind_and_time_come_back_and_marked_rows_alone(tmp_path: Path) -> None:
    with Segments(tmp_path) as segments:
        segments.append_many([Row(b"a"), Row(b"b", 3, -7), Row(b"c", 0, 1 << 62)])
        with segments.reader() as reader:
            assert [(r.kind, r.t_ns) for r in reader.read(0)] == [(0, None), (3, -7), (0, 1 << 62)]
            assert [r.data for r in reader.marked()] == [b"b"]


def test_each_file_begins_with_its_head(tmp_path: Path) -> None:
    with Segments(tmp_path, segment_bytes=20_000, head=lambda first: [Row(b"head %d" % first, 1)]) as segments:
        fill(segments, 10)
        with segments.reader() as reader:
            for path in segments.files:
                first = sqlitefile.first_of(path)
                assert reader.read(first, limit_rows=1)[0].data == b"head %d" % first


def test_only_whole_files_go_and_never_the_newest(tmp_path: Path) -> None:
    with Segments(tmp_path, segment_bytes=20_000) as segments:
        written = fill(segments, 10)
        second = sqlitefile.first_of(segments.files[1])
        assert segments.drop_oldest() == (0, second)
        assert segments.oldest == second
        assert everything(tmp_path) == {k: v for k, v in written.items() if k >= second}
        while len(segments.files) > 1:
            segments.drop_oldest()
        with pytest.raises(Refused):
            segments.drop_oldest()


def test_a_second_writer_is_kept_out(tmp_path: Path) -> None:
    with Segments(tmp_path), pytest.raises(Refused, match="in use"):
        Segments(tmp_path)
    Segments(tmp_path).close()


def test_a_reader_beside_the_writer_misses_nothing(tmp_path: Path) -> None:
    found: list[int] = []
    total = 6000

    def follow() -> None:
        with Reader(tmp_path) as reader:
            at = 0
            while at < total:
                for row in reader.read(at, limit_bytes=3000):
                    found.append(row.offset)
                    at = row.offset + 1

    with Segments(tmp_path, segment_bytes=30_000) as segments:
        thread = threading.Thread(target=follow)
        thread.start()
        for n in range(total // 20):
            segments.append_many(rows(20, seed=n))
        thread.join(timeout=30)
    assert found == list(range(total))


def test_rows_appended_between_two_looks_before_a_new_file_are_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Segments(tmp_path, segment_bytes=None) as segments, Reader(tmp_path) as reader:
        segments.append_many([Row(b"0")])
        looks = 0

        def look(directory: Path) -> list[Path]:
            nonlocal looks
            looks += 1
            if looks == 2:
                segments.append_many([Row(b"1")])
                segments.roll([Row(b"2")])
            return files_in(directory)

        monkeypatch.setattr("edge.durable.reader.files_in", look)
        assert [row.data for row in reader.read(0)] == [b"0", b"1", b"2"]


def test_a_reader_follows_into_a_file_that_was_salvaged_under_it(tmp_path: Path) -> None:
    with Segments(tmp_path) as segments, segments.reader() as reader:
        fill(segments, 1)
        assert len(reader.read(0)) == 50
        segments.suspect(segments.files[-1])
        segments.append_many([Row(b"after")])
        assert segments.salvages[0].salvaged == 50
        assert [row.data for row in reader.read(50)] == [b"after"]
