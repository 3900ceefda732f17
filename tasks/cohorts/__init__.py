"""Cohorts: images made ready. Phantoms or a real data root are read by the same adapter, and decoded once."""
