"""Pictures of one's own in two folders: images and masks."""
