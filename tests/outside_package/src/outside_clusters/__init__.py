"""Cluster discrimination for DiRA-Bench."""
