"""A process whose stderr nobody reads any more, as when what it was started from has ended."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

import pytest

from edge.runtime import ready

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def unheard() -> Iterator[ready.Teller]:
    """Give what counts the lines that are lost."""
    ears, mouth = os.pipe()
    os.close(ears)
    teller = ready.Teller()
    with pytest.MonkeyPatch.context() as patch, os.fdopen(mouth, "w", buffering=1) as out:
        patch.setattr(ready, "teller", teller)
        patch.setattr(sys, "stderr", out)
        yield teller
