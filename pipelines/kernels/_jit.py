"""The one door to the compiler: every kernel is compiled by `jit`, and nothing else imports numba.

No fast-math of any kind: what is stored must not depend on how a compiler groups additions or treats NaN. Division
follows numpy (no exception), since a kernel that runs without the interpreter's lock can't raise cheaply.

Machine code is kept beside the source, under a stamp of all kernels together: numba's own stamp is of one file, and
would go on with machine code that holds what a callee in another file was before it was changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core.dispatcher import Dispatcher

Function = TypeVar("Function", bound=Callable[..., Any])


_STAMP = hashlib.sha256(b"".join(p.read_bytes() for p in sorted(Path(__file__).parent.glob("*.py")))).hexdigest()


def jit(function: Function) -> Function:
    """Compile `function` on first use, and keep the machine code beside the source."""
    compiled: Any = numba.jit(nopython=True, cache=True, nogil=True, error_model="numpy")(function)
    if isinstance(compiled, Dispatcher):  # not where NUMBA_DISABLE_JIT is set
        cache: Any = vars(compiled)["_cache"]
        cache._cache_file._source_stamp = _STAMP  # noqa: SLF001 # a test pins that it is obeyed
    return cast("Function", compiled)
