"""Medians with intervals, and the tables that show them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The median and a 95 % interval for it, from the order of the values (no assumption on their distribution)."""
    ordered = sorted(values)
    reach = 0.98 * len(ordered) ** 0.5
    low = max(0, int(len(ordered) / 2 - reach))
    high = min(len(ordered) - 1, int(len(ordered) / 2 + reach))
    return statistics.median(ordered), ordered[low], ordered[high]


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """The median ratio of paired rounds, with its interval."""
    median, low, high = interval([a / b for a, b in zip(ours, theirs, strict=True)])
    return f"{median:.2f} ({low:.2f}-{high:.2f})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under their head, aligned."""
    widths = [max(len(str(row[i])) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, ["-" * width for width in widths], *rows]:
        print("  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print()
