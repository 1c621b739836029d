"""Sparkplug and Wayside topic names."""

from __future__ import annotations

from dataclasses import dataclass

NAMESPACE = "spBv1.0"
_ILLEGAL = frozenset("/+#")


@dataclass(frozen=True, slots=True)
class Topic:
    """`spBv1.0/<group>/<kind>/<edge node>[/<device>]`."""

    group: str
    kind: str
    edge_node: str
    device: str | None = None

    def __str__(self) -> str:
        """Give the topic as MQTT carries it."""
        parts = [NAMESPACE, self.group, self.kind, self.edge_node]
        return "/".join(parts if self.device is None else [*parts, self.device])


def parse(topic: str) -> Topic | None:
    """Take a topic apart; None if it is no Sparkplug edge-node topic."""
    parts = topic.split("/")
    if len(parts) not in {4, 5} or parts[0] != NAMESPACE or not all(parts):
        return None
    return Topic(parts[1], parts[2], parts[3], parts[4] if len(parts) == 5 else None)


def is_legal_id(text: str) -> bool:
    """Tell whether `text` can be a group, edge node, device or host id (no `/`, `+`, `#`, not empty)."""
    return bool(text) and not _ILLEGAL.intersection(text)


def state(host: str) -> str:
    """Topic of a host application's STATE."""
    return f"{NAMESPACE}/STATE/{host}"


def acknowledgement(group: str, edge_node: str, host: str) -> str:
    """Topic on which `host` states the position of an edge node (docs/wire.md §5)."""
    return f"wayside/v1/ack/{group}/{edge_node}/{host}"
