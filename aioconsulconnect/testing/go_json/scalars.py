"""Times as Go writes them."""

import time
from datetime import UTC, datetime


def now() -> str:
    """This moment with up to nine digits after the second, trailing zeros cut."""
    seconds, fraction = divmod(time.time_ns(), 10**9)
    digits = f".{fraction:09}".rstrip("0").rstrip(".")
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}{digits}Z"
