"""Data sets as they lie on disk: one adapter each, all read into the same index."""
