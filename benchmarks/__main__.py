"""
`python -m benchmarks [get|box|watch …|decide …]`: one table each, every ratio measured in one run.

`watch stream`, `decide peers`: a part.
"""

import importlib
import sys

NAMES = ("get", "watch", "box", "decide")
WITH_PARTS = ("watch", "decide")

if sys.argv[1:2] and sys.argv[1] in WITH_PARTS and not {*sys.argv[2:]} & {*NAMES}:
    importlib.import_module(f"benchmarks.{sys.argv[1]}").main(sys.argv[2:])
    sys.exit()
for name in sys.argv[1:] or NAMES:
    if name not in NAMES:
        sys.exit(f"benchmarks: {name!r} is none of {', '.join(NAMES)}")
    importlib.import_module(f"benchmarks.{name}").main()
