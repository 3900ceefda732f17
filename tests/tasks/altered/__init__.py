"""Altered copies of the nine data sets: each is read right, refused in one sentence, or warned about by name.

``python -m tests.tasks.altered --cases 1200`` writes a tiny phantom of each data set, alters copies of it one at a time
(headers, depths, nesting, doubles, what is missing, off-line positions, truncation, names) and compares what the
cohort's own code makes of them with what it makes of the unaltered copy.
"""
