"""The audit of any paper: a table of means and spreads and a list of claims, both CSV, both typed in by hand."""
