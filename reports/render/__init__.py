"""Renders tables, figures and pages from results/; reads nothing else and imports no torch."""

from reports.render.build import audit_pages, build

__all__ = ["audit_pages", "build"]
