"""Commands that need an extra say so before they import it."""

from __future__ import annotations

from edge.errors import Refused


def need(extra: str) -> None:
    """Make sure that an extra is installed.

    Raises:
        Refused: it is not; the message says how to get it.
    """
    from wayside.installed import missing  # noqa: PLC0415 -- imported late

    gone = missing(extra)
    if gone:
        raise Refused(f"this needs {', '.join(gone)}: install them with `pip install 'wayside[{extra}]'`")
