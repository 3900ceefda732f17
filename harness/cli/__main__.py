"""``python -m harness.cli`` is ``dira-bench``."""

from harness.cli import main

main()
