#!/bin/bash
# A probe of `slurmslice doctor --probe`: a job that finds out if a steward can work on this cluster.
#
#   sbatch OPTIONS probe.sh FOLDER PYTHON
#
# It writes lines "NAME TEXT" to FOLDER/facts: an empty TEXT is good, any other one says what is wrong.

folder=$1 python=$2 job=$SLURM_JOB_ID
facts=$folder/facts

fact() {
  printf '%s %s\n' "$1" "${*:2}" | tr '\n' ' ' >>"$facts"
  echo >>"$facts"
}

((${SLURM_RESTART_COUNT:-0} == 0)) || exit 0
printf 'node %s\n' "${HOSTNAME:-unknown}" >>"$facts"
for name in $(compgen -e); do
  case $name in
    SLURM_CONF | SLURM_CLUSTERS) ;;
    SLURM_* | SBATCH_* | SRUN_*) unset "$name" ;;
  esac
done
said=$("$python" -c 'import slurmslice' 2>&1) && said=
fact python "$said"
said=$(sbatch --test-only --ntasks=1 --time=1 --wrap true 2>&1) && said=
fact submit "$said"
trap '' TERM # the requeue ends this script; it has to write how that went
said=$(scontrol requeue "$job" 2>&1) && said=
fact requeue "$said"
fact end ""
