#!/usr/bin/env bash
# submitit 1.5.4: helpers.clean_env() also hides SLURM_CONF, so a job that is queued inside it may go to no cluster.
#
# One would expect: the context that submitit offers for queueing from inside a job hides what Slurm told that job
# (SLURM_JOB_ID, SLURM_MEM_PER_CPU, ...), whose inheritance would be wrong, and leaves how Slurm itself is found.
# What happens: every variable that begins with SLURM_ goes, SLURM_CONF as well. Where a site has its configuration
# elsewhere than Slurm was compiled for and says so by that variable, sbatch inside the context finds another
# configuration or none.
# Why it matters here: a driver of engine slurm may run in a job itself, and queues jobs from there.
# Where it is handled: harness/executors/slurm.py hides the variables itself, all but SLURM_CONF.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet submitit==1.5.4
mkdir "$folder/bin"
printf '#!/bin/sh\necho "sbatch: SLURM_CONF=${SLURM_CONF-none} SLURM_JOB_ID=${SLURM_JOB_ID-none}" >&2\necho "Submitted batch job 1"\n' > "$folder/bin/sbatch"
cp "$folder/bin/sbatch" "$folder/bin/srun"  # submitit asks only whether there is one
chmod +x "$folder/bin/"*
cd "$folder"
PATH="$folder/bin:$PATH" SLURM_CONF=/site/slurm.conf SLURM_JOB_ID=7 venv/bin/python - 2>&1 <<'PY' | tee said
import subprocess

import submitit


def queue() -> None:
    print(f"submitit {submitit.__version__}: ", end="", flush=True)
    subprocess.run(["sbatch", "--version"], stdout=subprocess.DEVNULL, check=True)  # what submitit itself runs


queue()
with submitit.helpers.clean_env():
    queue()
PY
if [ "$(grep -c 'SLURM_CONF=none SLURM_JOB_ID=none' said)" != 1 ]; then
    echo "behaviour changed: SLURM_CONF is kept" >&2
    exit 1
fi
