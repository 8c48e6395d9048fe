#!/bin/bash
#SBATCH --job-name=x-k3v9w2ab
#SBATCH --array=0-98%10
#SBATCH --mem=4G
#SBATCH --time=1:00:00
#SBATCH --output=/home/ada/sim/slurmslice-runs/x/submissions/001/tasks/%a.log
#SBATCH --open-mode=append

# Run x: one command for 99 slices; an array task runs 40 of them. By slurmslice 0.1.0.
#   submit all slices:   sbatch script.sh
#   run one task here:   SLURM_ARRAY_TASK_ID=N bash script.sh
# Yours to edit, but keep pack=40: it says which slices belong to which task.
# shellcheck disable=SC1091,SC2329 # slurmslice.sh calls these functions

# Prepares the shell of the whole task, once: $SLICE is not set yet.
prepare() {
  cd /home/ada/sim || return
  export PATH=/home/ada/venv/bin:/usr/local/bin:/usr/bin:/bin
  export VIRTUAL_ENV=/home/ada/venv
  export PYTHONUNBUFFERED=1 # a log then holds all that was printed before a crash
  # --cpus-per-task of a slice, for OpenMP and srun too: neither takes it from sbatch by itself.
  export OMP_NUM_THREADS="${OMP_NUM_THREADS:-${SLURM_CPUS_PER_TASK:-4}}"
  export SRUN_CPUS_PER_TASK="${SRUN_CPUS_PER_TASK:-${SLURM_CPUS_PER_TASK:-4}}"
  # --setup (the command sees only what is exported)
  module load python/3.11
}

# Runs the command for one slice. $SLICE is its key, $SLICE_MASS its mass.
run_slice() {
python x.py --mass "$SLICE_MASS" "$SLICE" |
  gzip >"out/$SLICE_ROW.gz"
}

# Finds the slices, runs them, records how each ended. Does not return.
source /home/ada/sim/slurmslice-runs/x/slurmslice.sh table pack=40 at_once=4 slices=99 -- "$@"
echo 'slurmslice.sh is damaged, so no slice began. Type: slurmslice status' >&2
exit 125
