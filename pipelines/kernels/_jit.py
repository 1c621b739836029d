"""The one door to the compiler: every kernel is compiled by `jit`, and nothing else imports numba.

No fast-math of any kind: what is stored must not depend on how a compiler groups additions or treats NaN. Division
follows numpy (no exception), since a kernel that runs without the interpreter's lock can't raise cheaply.

Machine code is kept beside the source, under a stamp of the source and of all kernels that it imports: numba's own
stamp is of one file, and would go on with machine code that holds what a callee in another file was before a change.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core.dispatcher import Dispatcher

Function = TypeVar("Function", bound=Callable[..., Any])


_FOLDER = Path(__file__).parent
_IMPORTED = re.compile(
    r"^from [\w.]*\b" + _FOLDER.name + r"(?:\.(\w+) import|\s+import\s+(\([^)]*\)|[^\n]*))", re.MULTILINE
)


@functools.cache
def _stamp(name: str) -> str:
    """Digest the source of a module of this folder and all that it imports from here."""
    sources: dict[str, bytes] = {}
    waiting = [name]
    while waiting:
        at = _FOLDER / f"{waiting.pop()}.py"
        if at.name not in sources and at.exists():
            sources[at.name] = at.read_bytes()
            for one, several in _IMPORTED.findall(sources[at.name].decode()):
                waiting += re.findall(r"\w+", one or several)
    return hashlib.sha256(b"".join(source for _, source in sorted(sources.items()))).hexdigest()


def jit(function: Function) -> Function:
    """Compile `function` on first use, and keep the machine code beside the source."""
    compiled: Any = numba.jit(nopython=True, cache=True, nogil=True, error_model="numpy")(function)
    if isinstance(compiled, Dispatcher):  # not where NUMBA_DISABLE_JIT is set
        cache: Any = vars(compiled)["_cache"]
        cache._cache_file._source_stamp = _stamp(function.__module__.rpartition(".")[2])  # noqa: SLF001 # a test pins that it is obeyed
    return cast("Function", compiled)
