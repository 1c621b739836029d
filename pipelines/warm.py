"""`python -m pipelines.warm`: compile every kernel now, so that no later start waits for it."""

from __future__ import annotations

from pipelines.engine.reader import warm

if __name__ == "__main__":
    warm()
