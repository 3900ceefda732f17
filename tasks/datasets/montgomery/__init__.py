"""The Montgomery County set."""
