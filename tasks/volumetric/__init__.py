"""Options of patches and of the transfers on volumes."""
