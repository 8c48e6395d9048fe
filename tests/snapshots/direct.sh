#!/bin/bash
#SBATCH --job-name=x-k3v9w2ab
#SBATCH --array=0-98%10
#SBATCH --mem=4G
#SBATCH --time=1:00:00
#SBATCH --output=/home/ada/sim/slurmslice-runs/x/submissions/001/tasks/%a.log
#SBATCH --open-mode=append

# x: one command for many slices; each array task does one. By slurmslice 0.1.0.
#   all of them:         sbatch script.sh
#   one, here, by hand:  SLURM_ARRAY_TASK_ID=N bash script.sh
# Yours to edit: the lines above, _setup and _slice. What follows them is bookkeeping.

# Where the command runs, and with what. Done once in each array task, before the command.
_setup() {
  cd /home/ada/sim || return
  export PATH=/home/ada/venv/bin:/usr/local/bin:/usr/bin:/bin
  export VIRTUAL_ENV=/home/ada/venv
  export PYTHONUNBUFFERED=1 # a log then holds all that was printed before a crash
}

# The command, for one slice: $SLICE is its key.
_slice() {
  exec -- python x.py --in "mill2sort-${SLICE}.h5"
}

# ---- Bookkeeping: which slice, its log, and what became of it. All names here begin with _.

_run=/home/ada/sim/slurmslice-runs/x
_submission=$_run/submissions/${1:-001}

_stop() {
  echo "slurmslice: $1" >&2
  exit 2
}

# A line for "slurmslice status", on standard output: that is the file tasks/<index>.log.
_job=${SLURM_ARRAY_JOB_ID:-} _restart=${SLURM_RESTART_COUNT:-0}
_host=${SLURMD_NODENAME:-$HOSTNAME}
exec {_out}>&1
_progress() {
  printf 'slurmslice %s job=%s restart=%s at=%(%s)T host=%s %s\n' "$1" "$_job" "$_restart" \
    -1 "$_host" "$2" >&"$_out"
}

[[ ${SLURM_ARRAY_TASK_ID:-} =~ ^(0|[1-9][0-9]*)$ ]] ||
  _stop "no array index. All slices: sbatch script.sh. One: SLURM_ARRAY_TASK_ID=N bash script.sh"
[[ -d $_submission ]] ||
  _stop "there is no $_submission. If the run was moved, change _run and --output in its script.sh"

# The array index is the key.
export SLICE=$SLURM_ARRAY_TASK_ID
_log=$_submission/logs/$SLICE.log

# By hand there is no array job: the slice's output goes to the terminal, nothing is recorded.
if [[ -z ${SLURM_ARRAY_JOB_ID:-} ]]; then
  _setup && (_slice)
  exit
fi

# A submission belongs to the first array whose id stands in its file "job": written beside it, so
# that it is there whole or not at all (a full disk), and linked, or else created (set -C), if none
# is there yet. Should it ever be submitted twice, the tasks of the other array stop here: no slice
# runs twice.
_owner=
_mine=$_submission/job.$SLURM_ARRAY_JOB_ID.$SLURM_ARRAY_TASK_ID
for _try in {1..20}; do
  [[ -e $_submission/job ]] || {
    echo "$SLURM_ARRAY_JOB_ID" >|"$_mine" &&
      { ln "$_mine" "$_submission/job" || (set -C && cat "$_mine" >"$_submission/job"); }
  } || :
  read -r _owner <"$_submission/job" && break
  sleep 0.5 # it is being written, or the disk is full
done 2>/dev/null
[[ ! -e $_mine ]] || rm -f "$_mine"
if [[ $_owner != "$SLURM_ARRAY_JOB_ID" ]]; then
  _progress refused "owner=$_owner"
  _stop "not run: $_submission/job names ${_owner:-no job}, this is job $SLURM_ARRAY_JOB_ID"
fi

# A setup that fails, or says "exit" (even "exit 0"), must not look like a slice that is done.
_not_run() {
  _ready=no
  _progress setup "exit=$1"
  echo "slurmslice: setup exited $1, the command was not run" >&2
  builtin exit $(($1 ? $1 : 1))
}
_ready=
trap '_exit=$?; [[ $_ready ]] || _not_run "$_exit"' EXIT
# Ended from outside it has not failed, and at EXIT $? does not tell: 0 might as well be "exit 0".
trap '_not_run 129' HUP
trap '_not_run 130' INT
trap '_not_run 143' TERM
_guarded() { # the setup may have a trap of its own on EXIT, which takes the place of that one
  # shellcheck disable=SC2329 # the setup calls it
  exit() {
    _exit=${1-$?}
    ((BASH_SUBSHELL)) && builtin exit "$_exit"
    (builtin exit "$_exit") # of 256 or -1 a process keeps what goes into a byte
    _not_run "$?"
  }
}
[[ -o posix ]] || _guarded # a POSIX shell has no function of that name
_setup
_exit=$?
# Whatever the setup has set: what became of the slice is still to be written. Aliases, and
# functions that hide what bash has itself (trap, wait, exit …), would change that: they go.
\builtin unalias -a
builtin set +euET +o posix
builtin trap - CHLD ERR DEBUG RETURN
builtin unset -f : [ break cd command continue echo exec exit export kill local mapfile printf \
  read return set shift trap unset wait
((_exit == 0)) || _not_run "$_exit"
_ready=yes

# The command runs in the background, as a process group of its own (set -m), and bash waits: so
# signals that Slurm sends to this script (scancel, time limit, --signal=B:) can be passed on.
[[ -d ${_log%/*} ]] || command mkdir -p "${_log%/*}"
_progress start "slot=0"
set -m
(_slice) </dev/null >>"$_log" 2>&1 {_out}>&- &
_command=$!
set +m
_told= # a signal that told the command to end, from outside
trap 'kill -s USR1 -- -$_command' USR1
trap 'kill -s USR2 -- -$_command' USR2
for _signal in HUP INT TERM; do
  # shellcheck disable=SC2064 # as it is now
  trap "_told=$_signal; kill -s $_signal -- -$_command" "$_signal"
done

# A signal ends "wait" early; the command's exit code is to be had once the command is gone.
while kill -0 "$_command" 2>/dev/null; do wait "$_command"; done
wait "$_command"
_exit=$?
_progress end "slot=0 exit=$_exit${_told:+ told=$_told}"
# What the setup has trapped on EXIT runs yet; an "exit" in it does not change what was said.
_end() {
  # shellcheck disable=SC2329 # that trap calls it
  exit() { :; }
  builtin exit "$_exit"
}
_end
