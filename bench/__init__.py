"""What the design claims about speed, measured: ours beside a plain reference in the same process. See README.md."""
