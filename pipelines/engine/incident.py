"""What happened besides the windows: one value an incident, as a checkpoint keeps it and followers read it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that the ledger's rows can't say: records that are no part of any window, restored journals."""

    t_ns: int
    """When it happened, in event time. [ns since 1970, UTC]"""
    kind: str
    fields: dict[str, Any] = field(default_factory=dict)
    """What is known about it: texts and integers, ready for JSON."""

    def as_json(self) -> dict[str, Any]:
        """Give the published form."""
        return {"t_ns": self.t_ns, "kind": self.kind, **self.fields}
