#!/usr/bin/env bash
# Python 3.11 (multiprocessing, standard library): processor time of a fork server's children appears nowhere.
#
# One would expect: after process.join(), or after the whole program has ended, RUSAGE_CHILDREN, os.times() and the
# shell's "time" hold what the children computed, as they do under fork and spawn.
# What happens: the children belong to the server. The program never waits for the server, which ends a moment after it
# and is taken over by init; so its time and that of all its children is lost. "time" shows a program of many processor
# minutes as one of seconds. A caller that has made itself a subreaper (Linux, prctl 36) before, and waits for all that
# it then inherits, gets the whole time.
# Why it matters here: trials run in children of a fork server, so a comparison of whole runs would compare starts.
# Where it is handled: bench/trials.py is a subreaper.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > program.py <<'PY'
import multiprocessing
import sys
import time


def compute() -> None:
    while time.process_time() < 2.0:
        pass


if __name__ == "__main__":
    process = multiprocessing.get_context(sys.argv[1]).Process(target=compute)
    process.start()
    process.join()
PY
python3 - <<'PY'
import ctypes
import os
import resource
import subprocess
import sys


def seconds(method: str, *, wait_for_all: bool = False) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "program.py", method], check=True)
    while wait_for_all:
        try:
            os.wait()
        except ChildProcessError:
            break
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


found = {method: seconds(method) for method in ("fork", "spawn", "forkserver")}
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
found["forkserver, seen by a subreaper"] = seconds("forkserver", wait_for_all=True)
print(f"Python {sys.version.split()[0]}: processor seconds of a program whose child computes for 2 s")
for how, counted in found.items():
    print(f"  {how}: {counted:.1f}")
if found["forkserver"] >= 2.0 or min(counted for how, counted in found.items() if how != "forkserver") < 2.0:
    raise SystemExit("behaviour changed")
PY
