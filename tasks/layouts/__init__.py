"""What the readers of data sets share: finding files, the index, lists, splits, and the formats of files."""
