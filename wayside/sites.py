"""The registry of sites, as the command line lists it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.registry import Registry, Site


def listed(registry: Registry, at_ns: int) -> list[dict[str, Any]]:
    """Give each site as it holds at an instant; a site that begins later is given with its first entry."""
    return [_entry(registry.at(site, at_ns) or registry.entries(site)[0]) for site in registry.ids()]


def _entry(site: Site) -> dict[str, Any]:
    entry = site.model_dump(mode="json", by_alias=True)
    return {"id": entry.pop("id"), "from_ns": site.since_ns, **entry}
