"""PE-CAD."""
