"""ChestX-ray14."""
