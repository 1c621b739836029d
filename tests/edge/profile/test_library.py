"""One suite over all shipped profiles: a new one is tested by its file and its fixture, without a line here."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.modbus.decode import answers
from edge.model.point import Kind
from edge.profile.fixture import Fixture, verify
from edge.profile.load import Profile
from edge.runtime.profiles import library
from edge.settings import parse
from edge.sparkplug.birth import build
from edge.sparkplug.birth import parse as parse_birth
from edge.sparkplug.sparkplug_b_pb2 import Payload

FIXTURES = Path(__file__).parent / "fixtures"
LIBRARY = library()
profiles = pytest.mark.parametrize("profile", LIBRARY.values(), ids=list(LIBRARY))


def test_every_fixture_has_its_profile() -> None:
    assert {path.stem for path in FIXTURES.iterdir()} == set(LIBRARY)


@profiles
def test_the_file_is_named_like_the_profile(profile: Profile) -> None:
    assert LIBRARY[profile.name] is profile
    assert profile.identity.startswith(f"{profile.name}@")


@profiles
def test_the_fixture_decodes(profile: Profile) -> None:
    path = FIXTURES / f"{profile.name}.toml"
    verify(profile, path.read_text(), path.name)


@profiles
def test_what_was_decoded_encodes_to_values_that_decode_alike(profile: Profile) -> None:
    for poll in parse((FIXTURES / f"{profile.name}.toml").read_text(), "fixture", Fixture).poll:
        plan = profile.plan(poll.group)
        held = {(int(r.function), r.address + n): word for r in poll.registers for n, word in enumerate(r.words)}
        values, quality = plan.decode(answers(plan.requests, held))
        assert plan.decode(answers(plan.requests, plan.encode(values))) == (values, quality)


@profiles
def test_reads_keep_the_limits_and_cover_every_point(profile: Profile) -> None:
    for name in profile.groups:
        plan = profile.plan(name)
        read = [(b.function, at) for b in plan.requests for at in range(b.address, b.end)]
        assert len(read) == len(set(read))
        assert set(plan.registers) <= set(read)
        assert all(b.count <= profile.table.modbus.max_registers for b in plan.requests)


@profiles
def test_a_birth_carries_every_point(profile: Profile) -> None:
    groups = [profile.group(name, site="site", device="device") for name in profile.groups]
    table, metrics = build(groups, 0)
    assert parse_birth(Payload(metrics=metrics)) == table
    declared = {(entry.group, entry.point) for entry in table.entries if entry.point is not None}
    assert declared == {(group.group, point) for group in groups for point in group.points}


@profiles
def test_names_of_points_differ_in_the_whole_device(profile: Profile) -> None:
    names = [point.name for group in profile.groups for point in profile.points(group)]
    assert len(names) == len(set(names))


@profiles
def test_deltas_can_be_dated_and_weighted(profile: Profile) -> None:
    for group in map(profile.points, profile.groups):
        names = [point.name for point in group]
        for at, point in enumerate(group):
            if point.kind is Kind.DELTA:
                assert group[names.index(point.interval_start)].kind is Kind.STATE
                assert point.interval_s > 0
            if point.weight:
                assert group[names.index(point.weight, 0, at)].part == point.part


def test_a_longer_period_loses_no_interval() -> None:
    counter = LIBRARY["modbus_counter"]
    assert counter.group("count", site="s", device="d", period_ns=60 * 10**9).period_ns == 60 * 10**9
    assert counter.group("interval", site="s", device="d", period_ns=60 * 10**9).period_ns == 30 * 10**9
    assert counter.group("interval", site="s", device="d").period_ns == 15 * 10**9
