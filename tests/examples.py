"""On how many examples a property is tried: few and always the same by default, many and new ones as proof."""

from __future__ import annotations

from typing import Any

from hypothesis import settings

DEFAULT, PROOF = "default", "proof"
settings.register_profile(PROOF, deadline=None, max_examples=1000)
settings.register_profile(DEFAULT, deadline=None, derandomize=True)  # the last, since others begin as this one


def examples(few: int, proof: int, **more: Any) -> settings:
    """Settings of a test whose examples cost more, or must be more, than those of others."""
    is_proof = settings.get_current_profile_name() == PROOF
    return settings(max_examples=proof if is_proof else few, **more)
