"""LiTS."""
