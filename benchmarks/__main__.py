"""`python -m benchmarks [get|box|watch …]`: one table each, every ratio measured in one run."""

import importlib
import sys

NAMES = ("get", "watch", "box")

for name in sys.argv[1:] or NAMES:
    if name not in NAMES:
        sys.exit(f"benchmarks: {name!r} is none of {', '.join(NAMES)}")
    importlib.import_module(f"benchmarks.{name}").main()
