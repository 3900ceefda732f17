"""Cohorts: where images come from. Phantoms in a data set's true layout or a real data root; one adapter reads both."""
