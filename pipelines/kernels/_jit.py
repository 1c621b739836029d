"""The one door to the compiler: every kernel is compiled by `jit`, and nothing else imports numba.

No fast-math of any kind: what is stored must not depend on how a compiler groups additions or treats NaN. Division
follows numpy (no exception), since a kernel that runs without the interpreter's lock can't raise cheaply.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def jit(function: Function) -> Function:
    """Compile `function` on first use, and keep the machine code beside the source."""
    return cast("Function", numba.jit(nopython=True, cache=True, nogil=True, error_model="numpy")(function))
