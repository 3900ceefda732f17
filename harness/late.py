"""Libraries whose import takes long, imported at the first use of a name of theirs.

A command that only looks, such as ``dira-bench plan``, imports every adapter and generator and reads no table and no
image. Code that is imported for work alone imports its libraries as usual.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from harness.dotted import import_module


class _Late:
    """Stands for a module; every name but Python's own is looked up in it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):  # asked by whoever inspects a module's names, and uses none
            raise AttributeError(name)
        return getattr(import_module(self._name), name)


if TYPE_CHECKING:
    import cv2
    import pandas as pd
    from PIL import Image
    from scipy import ndimage, special
else:
    cv2, pd, Image = map(_Late, ("cv2", "pandas", "PIL.Image"))
    ndimage, special = map(_Late, ("scipy.ndimage", "scipy.special"))


def import_held() -> None:
    """Import what the modules that are imported so far hold from here, for a process whose forks are to share it."""
    held = {
        value._name
        for name, module in list(sys.modules.items())
        if name != __name__
        for value in list(getattr(module, "__dict__", {}).values())
        if type(value) is _Late  # and no stand-in of a stranger's is asked what it is
    }
    for name in sorted(held):
        import_module(name)


__all__ = ["Image", "cv2", "import_held", "ndimage", "pd", "special"]
