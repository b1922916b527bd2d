"""Entry point of `python -m aioconsulconnect`."""

import sys

from aioconsulconnect.cli import main

sys.exit(main())
