"""Libraries whose import takes long, imported at the first use of a name of theirs.

A command that only looks, such as ``dira-bench plan``, imports every adapter and generator and reads no table and no
image. Code that is imported for work alone imports its libraries as usual.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.dotted import import_module

if TYPE_CHECKING:
    import cv2
    import pandas as pd
    from PIL import Image
    from scipy import ndimage, special
else:

    class _Late:
        """Stands for a module; every name but Python's own is looked up in it."""

        def __init__(self, name: str) -> None:
            self._name = name

        def __getattr__(self, name: str) -> object:
            if name.startswith("__"):  # asked by whoever inspects a module's names, and uses none
                raise AttributeError(name)
            return getattr(import_module(self._name), name)

    cv2, pd, Image = map(_Late, ("cv2", "pandas", "PIL.Image"))
    ndimage, special = map(_Late, ("scipy.ndimage", "scipy.special"))

__all__ = ["Image", "cv2", "ndimage", "pd", "special"]
