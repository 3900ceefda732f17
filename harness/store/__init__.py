"""The store: what every attempt at an item left, append-only, safe to kill at any moment.

Layout::

    <root>/<kind>/<id[:2]>/<id>/<ordinal>/     one folder per attempt at a phase or a trial
    <cohorts>/<id>/<ordinal>/                  the same for cohorts, whose images can be many
        claim.json      the lease: who holds the attempt (host, process), and which job of which engine runs it; the
                        folder appears with it, in one step
        progress.json   while the attempt runs: process, done, total, what
        job.json        while the attempt waits or runs beyond this machine: what its process is to do
        output.log      what the work printed, if anything; never part of the record
        arrays.npz      the outcome's arrays: byte-stable
        curve.jsonl     the outcome's curve, one object a line
        …               whatever else the work left
        record.json     written last, in one step; a folder without it never finished
    <root>/resume/<id>/       checkpoints of an item that outlive its attempts; emptied once it is ok
    <root>/drivers/<token>    one heartbeat file per running driver
    <root>/index.jsonl        a cache of which records are ok; checked against the records, rebuilt when damaged
    <root>/hashed.jsonl       a cache of the digests of large files, by size, inode and dates (``harness.store.hashed``)

**Who may run an item.** The next ordinal of an item is leased by renaming a prepared folder onto its name, which
exactly one driver can do. While the owner of an unfinished attempt lives, nobody else starts another; once it is gone
the attempt is closed as ``interrupted`` and the next ordinal is free. No other lock exists, so no lock can go stale.
An owner on another machine must have been gone for ``Store.patience`` seconds first.

**Who wins.** The first record of an attempt stays: it is linked to its name, which fails if the name is taken. Whoever
closes an attempt wins its record first and clears the folder afterwards. Whoever comes too late removes what it left.
Nothing is removed because it was absent, or over, a moment ago: clients of NFS see a new file up to a minute late.

**What counts.** Only ``record.json`` does. One that cannot be read, that is not a record, whose id is not the digest of
its own spec, or whose content is not what its seal says is set aside (renamed ``record.json.damaged-…``), said so in
one sentence, and its item counts as missing. Arrays and files are checked against their SHA-256 where they are used.
"""

from harness.store.files import is_full, resolve_full
from harness.store.leases import Driver, EngineJob, at_work
from harness.store.records import Attempt, Progress, State, Store

__all__ = ["Attempt", "Driver", "EngineJob", "Progress", "State", "Store", "at_work", "is_full", "resolve_full"]
