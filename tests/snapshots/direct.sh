#!/bin/bash
#SBATCH --job-name=x-k3v9w2ab
#SBATCH --array=0-98%10
#SBATCH --mem=4G
#SBATCH --time=1:00:00
#SBATCH --output=/home/ada/sim/slurmslice-runs/x/submissions/001/tasks/%a.log
#SBATCH --open-mode=append

# Run x: one command for 99 slices; an array task runs one of them. By slurmslice 0.1.0.
#   submit all slices:   sbatch script.sh
#   run one slice here:  SLURM_ARRAY_TASK_ID=N bash script.sh
# Yours to edit.
# shellcheck disable=SC1091,SC2329 # slurmslice.sh calls these functions

# Prepares the shell of one slice: folder, programs, modules.
prepare() {
  cd /home/ada/sim || return
  export PATH=/home/ada/venv/bin:/usr/local/bin:/usr/bin:/bin
  export VIRTUAL_ENV=/home/ada/venv
  export PYTHONUNBUFFERED=1 # a log then holds all that was printed before a crash
}

# Runs the command for one slice. $SLICE is its key.
run_slice() {
  exec -- python x.py --in "mill2sort-${SLICE}.h5"
}

# Finds the slice, runs it, records how it ended. Does not return.
source /home/ada/sim/slurmslice-runs/x/slurmslice.sh direct slices=99 ids=0-98 -- "$@"
echo 'slurmslice.sh is damaged, so no slice began. Type: slurmslice status' >&2
exit 125
