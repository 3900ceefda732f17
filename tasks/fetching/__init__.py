"""Fetching real images: what ``dira-bench data fetch`` calls.

A data root is built from public repositories at fixed commits; the facts are committed, the images are not. No number
of a trial depends on this code but through the root's files, whose fingerprint is part of a cohort's identity.
"""

from tasks.fetching.root import fetch, verify

__all__ = ["fetch", "verify"]
