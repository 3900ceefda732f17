"""Arrays of one's own in one archive."""
