"""Self-supervision in 3D: visual words are discovered in scans, then classified and restored (TransVW)."""
