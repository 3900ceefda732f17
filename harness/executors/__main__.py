"""``python -m harness.executors FILE``: be the process of the job that a driver has written there."""

import sys
from pathlib import Path

from harness.executors.child import main

sys.exit(main(Path(sys.argv[1])))
