"""Renders tables, figures and pages from results/; reads nothing else and imports no torch."""
