"""Renders tables, figures and pages from results/; reads nothing else and imports no torch."""

from reports.render.build import KnownNames, audit_pages, build

__all__ = ["KnownNames", "audit_pages", "build"]
