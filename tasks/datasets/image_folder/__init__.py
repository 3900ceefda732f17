"""Pictures of one's own without labels."""
