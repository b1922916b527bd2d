"""`python -m benchmarks [get|box|watch …]`: one table each, every ratio measured in one run; `watch stream`: a part."""

import importlib
import sys

NAMES = ("get", "watch", "box")

if sys.argv[1:2] == ["watch"] and not {*sys.argv[2:]} & {*NAMES}:
    importlib.import_module("benchmarks.watch").main(sys.argv[2:])
    sys.exit()
for name in sys.argv[1:] or NAMES:
    if name not in NAMES:
        sys.exit(f"benchmarks: {name!r} is none of {', '.join(NAMES)}")
    importlib.import_module(f"benchmarks.{name}").main()
