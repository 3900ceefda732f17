"""What a run leaves in ``results/``: small byte-stable text files, made from records and nothing else.

For each profile: ``cohorts/<task>.json``, ``pretraining/<method>.json``, ``trials/<method>.csv``,
``resamples/<method>.npz``, ``localization/<method>.npz``, ``curves/<method>.csv``, ``leakage.csv`` and, alone
outside every claim of byte-identity, ``provenance/<method>.csv``. The others hold no time, no host and no attempt.

**Adoption.** In a fresh clone the committed rows are as good as a record: a row whose trial id is still planned is
kept, if its file and the resamples beside it are exactly what ``dvc.lock`` says, in place or in the copy that the store
keeps of a trusted file before it is replaced. An ``ok`` attempt in the store always wins over a committed row.

**Edits.** ``examine`` says which files, rows and records are no longer what was written; no door prints from them.
"""

from __future__ import annotations

from harness.results.adoption import Adopted, adopt, from_scratch_marker
from harness.results.cohorts import committed_as_planned, write_cohort
from harness.results.examination import TABLES, Examination, examine
from harness.results.files import parse_rows, profile_folder, read_rows, write_atomically
from harness.results.leakage import count_leaks, write_leakage
from harness.results.localization import SHOWN, write_localization
from harness.results.orphans import Orphan, orphans
from harness.results.pretraining import write_pretraining
from harness.results.provenance import device_classes, measured_seconds, processor_hours, trial_devices
from harness.results.resamples import resample_key
from harness.results.standing import representing, trial_status
from harness.results.trials import write_trials
from harness.store.committed import replace

__all__ = [
    "SHOWN",
    "TABLES",
    "Adopted",
    "Examination",
    "Orphan",
    "adopt",
    "committed_as_planned",
    "count_leaks",
    "device_classes",
    "examine",
    "from_scratch_marker",
    "measured_seconds",
    "orphans",
    "parse_rows",
    "processor_hours",
    "profile_folder",
    "read_rows",
    "replace",
    "representing",
    "resample_key",
    "trial_devices",
    "trial_status",
    "write_atomically",
    "write_cohort",
    "write_leakage",
    "write_localization",
    "write_pretraining",
    "write_trials",
]
