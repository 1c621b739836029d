"""A recorded fixture: registers as a device sent them, and the samples that its profile must make of them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from edge.errors import ConfigurationError, Mistake
from edge.modbus.decode import answers
from edge.model.point import Datatype, Point, Value
from edge.model.quality import reason_names
from edge.profile.load import Profile
from edge.profile.schema import Address, Function
from edge.settings import Settings, nearest, parse

Number = int | float | bool


class Registers(Settings):
    """Neighbours that were read together."""

    function: Function
    address: Address
    words: tuple[Annotated[int, Field(ge=0, le=0xFFFF)], ...]


class Marked(Settings):
    """A sample that is not good."""

    value: Number | None = None
    quality: tuple[str, ...]


class Poll(Settings):
    """One poll of one group."""

    group: str
    registers: tuple[Registers, ...]
    samples: dict[str, Number | Marked]


class Fixture(Settings):
    """A whole fixture file."""

    profile: str
    recorded: str = Field(min_length=1)
    """Where the registers come from: a device with its firmware, or a document."""
    poll: tuple[Poll, ...]


def verify(profile: Profile, text: str, file: str) -> Fixture:
    """Decode the registers of a fixture and compare.

    Raises:
        ConfigurationError: every sample that differs, besides what is wrong in the file itself.
    """
    fixture = parse(text, file, Fixture)
    found = list(_differences(profile, fixture, file))
    if found:
        raise ConfigurationError(found)
    return fixture


def _differences(profile: Profile, fixture: Fixture, file: str) -> Iterator[Mistake]:
    if fixture.profile != profile.name:
        yield Mistake(file, "profile", fixture.profile, f"the name of the profile, {profile.name}", profile.name)
    for number, poll in enumerate(fixture.poll):
        path = f"poll[{number}]"
        if poll.group not in profile.groups:
            near = nearest(poll.group, profile.groups)
            yield Mistake(file, f"{path}.group", poll.group, f"one of {', '.join(profile.groups)}", near)
        else:
            yield from _poll(profile, poll, file, path)
    for name in profile.groups:
        if not any(poll.group == name for poll in fixture.poll):
            yield Mistake(file, "poll", None, f"a poll of the group {name}, too")


def _poll(profile: Profile, poll: Poll, file: str, path: str) -> Iterator[Mistake]:
    plan, points = profile.plan(poll.group), profile.points(poll.group)
    held: dict[tuple[int, int], int] = {
        (r.function, r.address + n): word for r in poll.registers for n, word in enumerate(r.words)
    }
    missing = sorted(set(plan.registers) - set(held))
    if missing:
        shown = ", ".join(f"{function}:{address:#06x}" for function, address in missing)
        yield Mistake(file, f"{path}.registers", None, f"also the registers {shown}")
        return
    names = [point.name for point in points]
    for name in poll.samples:
        if name not in names:
            yield Mistake(file, f"{path}.samples.{name}", name, "a point of this group", nearest(name, names))
    for point, value, quality in zip(points, *plan.decode(answers(plan.requests, held)), strict=True):
        yield from _sample(point, value, quality, poll, file, path)


def _sample(point: Point, value: Value, quality: int, poll: Poll, file: str, path: str) -> Iterator[Mistake]:
    place = f"{path}.samples.{point.name}"
    made = _shown(value, quality)
    said = poll.samples.get(point.name)
    if said is None:
        yield Mistake(file, place, None, f"{made} (this is what the registers say)")
        return
    expected, reasons = (said.value, set(said.quality)) if isinstance(said, Marked) else (said, set())
    if (value, set(reason_names(quality))) != (_as_carried(point, expected), reasons):
        shown = said.model_dump(exclude_none=True) if isinstance(said, Marked) else said
        yield Mistake(file, place, shown, f"{made} (this is what the registers say)")


def _shown(value: Value, quality: int) -> str:
    reasons = ", ".join(reason_names(quality))
    return f"{value}, {reasons}" if reasons and value is not None else reasons or f"{value}"


def _as_carried(point: Point, value: Value) -> Value:
    """A person writes 230.2 for the float nearest to it."""
    if point.datatype is Datatype.FLOAT and isinstance(value, int | float):
        return float(struct.unpack(">f", struct.pack(">f", value))[0])
    return value
