"""What the phantoms of several data sets share: bodies, findings, and arithmetic that is the same everywhere."""
