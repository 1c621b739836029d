"""A plan whose values are the registers themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge.model.point import Value


@dataclass(frozen=True)
class Block:
    function: int
    address: int
    count: int


@dataclass(frozen=True)
class RawPlan:
    """Every register of every request is a point."""

    requests: tuple[Block, ...]

    def decode(self, answers: Sequence[bytes]) -> tuple[list[Value], list[int]]:
        values: list[Value] = [
            int.from_bytes(data[i : i + 2], "big") for data in answers for i in range(0, len(data), 2)
        ]
        return values, [0] * len(values)

    @property
    def addresses(self) -> list[int]:
        return [a for block in self.requests for a in range(block.address, block.address + block.count)]


def plan(*blocks: tuple[int, int, int]) -> RawPlan:
    return RawPlan(tuple(Block(*block) for block in blocks))
