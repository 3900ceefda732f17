"""``dira-bench``: what a person types. A user's mistake is one sentence and exit code 2, never a traceback."""

from __future__ import annotations

import errno
import sys
from typing import TextIO, cast

from harness.errors import DiraBenchError
from harness.foreign import printable


def main() -> None:
    """Run the command line; translate expected errors into a sentence and an exit code."""
    from harness.cli.application import application
    from harness.cli.consoles import EndsClean
    from harness.cli.session import output

    sys.stdout = cast("TextIO", EndsClean(sys.stdout))  # rich pads what it folds, the pages of --help as well
    output.kept = True
    try:
        application(standalone_mode=True)
    except DiraBenchError as error:
        _complain(str(error))
        sys.exit(2)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = error.filename or "the working folder"
        _complain(
            f"no space left on the disk that holds {where}; free some and run the same command again; nothing is lost."
        )
        sys.exit(2)


def _complain(text: str) -> None:
    for line in printable(text).split("\n"):
        print(f"dira-bench: {line}", file=sys.stderr)  # noqa: T201
