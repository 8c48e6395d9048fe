#!/bin/bash
# The step after a run: it runs once when the slices are done. This text is the same in every run.
#
#   sbatch OPTIONS then.sh RUN TOKEN
#
# RUN     the run directory; the command sees it as $SLURMSLICE_RUN
# TOKEN   the name of this start; RUN/then/TOKEN has its command, and the list of the slices that are
#         not done ($SLURMSLICE_MISSING)
#
# script.sh defines prepare, which runs before the command as before each slice. Its library calls
# _serve_inline in place of the bookkeeping of an array task.
# shellcheck shell=bash disable=SC1090,SC2329 # prepare and the library are in script.sh

_then=$1/then/$2
export SLURMSLICE_RUN=$1 SLURMSLICE_MISSING=$_then/missing

# The first job that creates the file "job" runs the step. After a requeue it is the same job.
_claim_step() {
  local _mine=${SLURM_JOB_ID:-$$} _owner=''
  (set -C && echo "$_mine" >"$_then/job") 2>/dev/null
  read -r _owner <"$_then/job"
  [[ $_owner == "$_mine" ]] && return
  echo "slurmslice: not run: $_then/job names ${_owner:-no job}, this is $_mine" >&2
  exit 2
}

# Writes the exit code beside the file and renames it, so that the file is never seen half written.
_end_step() {
  echo "$1" >"$_then/exit.new" && mv -f "$_then/exit.new" "$_then/exit"
  exit "$1"
}

_run_step() {
  prepare
  _code=$?
  ((_code == 0)) || {
    echo "slurmslice: the setup failed with exit code $_code" >&2
    exit "$_code"
  }
  exec "${BASH:-bash}" "$_then/command"
}

_serve_inline() {
  local _name _code
  for _name in $(compgen -e); do
    case $_name in SLICE_* | SLURMSLICE_KEPT_*) unset "$_name" ;; esac
  done
  (_run_step)
  _end_step "$?"
}

_claim_step
_script=$1/script.sh
set --
source "$_script"
_end_step 125 # the library could not be read
