"""Where items run: local slots, and engines beyond one machine."""
