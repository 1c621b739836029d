"""Lengths of windows: which a group has, when a change takes effect, how many can be open at once."""

from __future__ import annotations

from pipelines.kernels.layout import AHEAD_NS, LONG_NS, MAX_PIECES, S_NS, Ints
from pipelines.kernels.layout import FROM as PIECE_FROM
from pipelines.kernels.layout import LENGTH as PIECE_LENGTH
from pipelines.kernels.layout import NUMBER as PIECE_NUMBER

LENGTHS_NS = (60 * S_NS, LONG_NS, 900 * S_NS, 3600 * S_NS, 86_400 * S_NS)
"""The base length is the smallest that a period fits; those above 300 s serve periods above 300 s only. Each divides
the next. [ns]"""


def base_length_ns(period_ns: int) -> int:
    """Length of a group's base windows. [ns]."""
    return next((length for length in LENGTHS_NS if length >= period_ns), LENGTHS_NS[-1])


def hold_ns(period_ns: int) -> int:
    """How long a value holds. [ns]."""
    return 5 * period_ns // 2


def ring_windows(shortest_ns: int, longest_ns: int, period_ns: int, longest_interval_ns: int) -> int:
    """Places that a group's ring of open windows needs.

    After each record every window is closed whose end lies `hold + longest interval` before the watermark w. So the
    first open window ends after w - hold - longest, and starts less than one length before that. A sample is at most
    AHEAD_NS after its record was due, which is at most half a period after its slot, so at most after w. The windows
    between the two are all that can hold something; a record that lies beyond closes windows first (kernels/run).
    """
    span_ns = longest_ns + hold_ns(period_ns) + longest_interval_ns + period_ns // 2 + AHEAD_NS
    return -(-span_ns // shortest_ns) + 1


def change_length(pieces: Ints, count: int, length_ns: int, from_ns: int, closed_ns: int) -> int:
    """Let base windows have another length from the next multiple of 300 s on; gives the new number of pieces.

    Args:
        pieces: (MAX_PIECES, PIECE_WORDS) those of one group, changed in place.
        count: how many there are.
        length_ns: the new length. [ns]
        from_ns: nothing at or after this has been put into a window. [ns]
        closed_ns: end of the last closed window: pieces that end before it are dropped. [ns]
    """
    while count > 1 and pieces[1, PIECE_FROM] <= closed_ns:
        pieces[: count - 1] = pieces[1:count]
        count -= 1
    step_ns = max(LONG_NS, length_ns, int(pieces[count - 1, PIECE_LENGTH]))
    start_ns = -(-max(from_ns, int(pieces[count - 1, PIECE_FROM])) // step_ns) * step_ns
    if start_ns == pieces[count - 1, PIECE_FROM] or count == MAX_PIECES:
        # Nothing can have happened between changes that no window has outlived: the newest stands for all.
        pieces[count - 1, PIECE_LENGTH] = length_ns
        return count
    last = pieces[count - 1]
    number = last[PIECE_NUMBER] + (start_ns - last[PIECE_FROM]) // last[PIECE_LENGTH]
    pieces[count] = (start_ns, number, length_ns)
    return count + 1
