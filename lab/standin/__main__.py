"""`python -m lab.standin ROOT`: all nodes of the lab at ROOT, until SIGTERM."""

import asyncio
import sys
from pathlib import Path

from lab.standin.serve import serve

asyncio.run(serve(Path(sys.argv[1]).resolve()))
