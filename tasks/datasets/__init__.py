"""Data sets as they lie on disk: one folder each. All are read into the same index (``tasks.layouts.index``)."""
