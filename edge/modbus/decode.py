"""A group's plan: which reads it takes, and how their answers become the values of its points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edge.modbus.registers import bit, swapped
from edge.modbus.scaling import Converted, Source, converter, inverter
from edge.model.point import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from edge.modbus.registers import Raw

BIT_FUNCTIONS: Final = (1, 2)
"""Read coils, read discrete inputs: the addresses are bits."""
MOST_REGISTERS: Final = 125
"""In one read, by the standard (Modbus Application Protocol 1.1b3, 6.3)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a device bears in one read."""

    max_registers: int = MOST_REGISTERS
    max_hole: int = 0
    """Registers (or bits) that nobody asked for and that may be read along to save a request."""

    def most(self, function: int) -> int:
        """Registers, or bits, in one read."""
        return 16 * self.max_registers if function in BIT_FUNCTIONS else self.max_registers


@dataclass(frozen=True, slots=True)
class Block:
    """One read: function, first address, registers (or bits)."""

    function: int
    address: int
    count: int

    @property
    def end(self) -> int:
        """The address behind the last."""
        return self.address + self.count


@dataclass(frozen=True, slots=True)
class _Step:
    """What makes one value: how to unpack it, in which buffer, from where, and its conversion."""

    unpack: Callable[[Any, int], tuple[Any, ...]]
    buffer: int
    at: int
    convert: Callable[[Raw], Converted]


class Plan:
    """The reads of one group, compiled once; a value is never split over two reads."""

    def __init__(self, sources: Sequence[Source], limits: Limits) -> None:
        """Compile `sources`, one for each point, in the group's order.

        Raises:
            ValueError: a value is longer than one read may be.
        """
        self.sources = tuple(sources)
        self.requests = blocks(self.sources, limits)
        self._inverters = [inverter(source) for source in self.sources]
        steps = [self._step(source) for source in self.sources]
        self._steps = [(step.convert, step.unpack, step.buffer, step.at) for step in steps]
        self._has_swapped = any(step.buffer >= len(self.requests) for step in steps)

    @property
    def registers(self) -> list[tuple[int, int]]:
        """(function, address) of all that its points use, holes left out."""
        return [(source.function, at) for source in self.sources for at in range(source.address, source.end)]

    def decode(self, answers: Sequence[bytes]) -> tuple[list[Value], list[int]]:
        """Turn the data of the answers, in the order of `requests`, into a value and a `Quality` for each point."""
        buffers = [*answers, *map(swapped, answers)] if self._has_swapped else answers
        made = [convert(unpack(buffers[buffer], at)[0]) for convert, unpack, buffer, at in self._steps]
        return [value for value, _ in made], [quality for _, quality in made]

    def encode(self, values: Sequence[Value]) -> dict[tuple[int, int], int]:
        """Give the registers, by (function, address), of a device that has these values; None is "not available".

        Raises:
            ValueError: a register has no number for its value.
        """
        registers: dict[tuple[int, int], int] = {}
        for source, invert, value in zip(self.sources, self._inverters, values, strict=True):
            words = source.codec.pack(invert(value))
            registers.update(((source.function, source.address + n), word) for n, word in enumerate(words))
        return registers

    def _step(self, source: Source) -> _Step:
        number, block = next(
            (n, block)
            for n, block in enumerate(self.requests)
            if block.function == source.function and block.address <= source.address and source.end <= block.end
        )
        at = source.address - block.address
        if source.function in BIT_FUNCTIONS:
            return _Step(bit, number, at, converter(source))
        buffer = number + len(self.requests) if source.codec.is_swapped else number
        return _Step(source.codec.struct.unpack_from, buffer, 2 * at, converter(source))


def blocks(sources: Iterable[Source], limits: Limits) -> tuple[Block, ...]:
    """Merge addresses into as few reads as the device bears.

    Raises:
        ValueError: a value is longer than one read may be.
    """
    made: list[Block] = []
    for source in sorted(sources, key=lambda s: (s.function, s.address, s.end)):
        most = limits.most(source.function)
        if source.end - source.address > most:
            raise ValueError(f"{source.point.name} takes more than one read of {most}")
        last = made[-1] if made else Block(0, 0, 0)
        reach = max(last.end, source.end) - last.address
        near = last.function == source.function and source.address <= last.end + limits.max_hole
        if near and reach <= most:
            made[-1] = Block(last.function, last.address, reach)
        else:
            made.append(Block(source.function, source.address, source.end - source.address))
    return tuple(made)


def answers(requests: Sequence[Block], registers: dict[tuple[int, int], int]) -> list[bytes]:
    """Give the data with which a device that holds `registers` (0 where nothing is said) answers."""
    return [_answer(block, registers) for block in requests]


def _answer(block: Block, registers: dict[tuple[int, int], int]) -> bytes:
    held = [registers.get((block.function, address), 0) for address in range(block.address, block.end)]
    if block.function not in BIT_FUNCTIONS:
        return b"".join(word.to_bytes(2, "big") for word in held)
    return sum(bool(value) << n for n, value in enumerate(held)).to_bytes((len(held) + 7) // 8, "little")
