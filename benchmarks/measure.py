"""Measuring on a machine that others use too: CPU time, not wall time."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Parts:
    """CPU time (user and system, all threads of this process) by the name of what it went into. [s]."""

    def __init__(self) -> None:
        """Begin at zero."""
        self.spent_s: dict[str, float] = defaultdict(float)

    @contextmanager
    def spend(self, name: str) -> Iterator[None]:
        """Count what is done inside."""
        begin_s = time.process_time()
        try:
            yield
        finally:
            self.spent_s[name] += time.process_time() - begin_s

    def wrap(self, name: str, work: Callable[P, T]) -> Callable[P, T]:
        """Make a function that counts its calls' time."""

        def counted(*args: P.args, **kwargs: P.kwargs) -> T:
            with self.spend(name):
                return work(*args, **kwargs)

        return counted

    def wrap_all(self, name: str, work: Callable[P, Iterator[T]]) -> Callable[P, Iterator[T]]:
        """Make a generator that counts the time it takes, and not its caller's."""

        def counted(*args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
            with self.spend(name):
                items = work(*args, **kwargs)
            while True:
                with self.spend(name):
                    try:
                        item = next(items)
                    except StopIteration:
                        return
                yield item

        return counted


def machine() -> str:
    """Name the machine as far as its numbers depend on it."""
    cores = len(os.sched_getaffinity(0))
    return f"{cores} shared cores, {platform.machine()}, Python {platform.python_version()}"


def progress(text: str) -> None:
    """Say how far it is, to stderr."""
    print(text, file=sys.stderr, flush=True)
