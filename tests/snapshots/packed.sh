#!/bin/bash
#SBATCH --job-name=x-k3v9w2ab
#SBATCH --array=0-98%10
#SBATCH --mem=4G
#SBATCH --time=1:00:00
#SBATCH --output=/home/ada/sim/slurmslice-runs/x/submissions/001/tasks/%a.log
#SBATCH --open-mode=append

# x: one command for many slices; each array task does 125. By slurmslice 0.1.0.
#   all of them:              sbatch script.sh
#   one task, here, by hand:  SLURM_ARRAY_TASK_ID=N bash script.sh
# Yours to edit: the lines above, _setup and _slice. What follows them is bookkeeping.

# Where the command runs, and with what. Done once in each array task, before the command.
_setup() {
  cd /home/ada/sim || return
  export PATH=/home/ada/venv/bin:/usr/local/bin:/usr/bin:/bin
  export VIRTUAL_ENV=/home/ada/venv
  export PYTHONUNBUFFERED=1 # a log then holds all that was printed before a crash
  # --cpus-per-task, for OpenMP and srun too: neither takes it from sbatch by itself.
  export OMP_NUM_THREADS="${OMP_NUM_THREADS:-${SLURM_CPUS_PER_TASK:-4}}"
  export SRUN_CPUS_PER_TASK="${SRUN_CPUS_PER_TASK:-${SLURM_CPUS_PER_TASK:-4}}"
  # --setup (this is a function: what the command is to see must be exported)
  module load python/3.11
}

# The command, for one slice: $SLICE is its key, $SLICE_MASS its mass.
_slice() {
  exec -- python x.py --in "mill2sort-${SLICE}.h5"
}

# ---- Bookkeeping: which slice, its log, and what became of it. All names here begin with _.

_run=/home/ada/sim/slurmslice-runs/x
_submission=$_run/submissions/${1:-001}
_pack=125 # slices a task, one after another
_limit=${2:-600} # seconds that a slice may take; 0: as long as its task may
_grace=30 # seconds from SIGTERM to SIGKILL for a slice that takes longer: Slurm's usual KillWait

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
  _stop "no array index. All slices: sbatch script.sh. One task: SLURM_ARRAY_TASK_ID=N bash script.sh"
[[ -d $_submission ]] ||
  _stop "there is no $_submission. If the run was moved, change _run and --output in its script.sh"
[[ $_limit =~ ^(0|[1-9][0-9]*)$ ]] ||
  _stop "$_limit is no number of seconds. Usage: script.sh [SUBMISSION [SECONDS_A_SLICE]]"

# Array index I owns _pack lines of the submission's table, from line I * _pack on (from 0, below
# the header); the last index may own fewer. A slice's place among them, from 0, is its slot.
{ mapfile -t -s $((SLURM_ARRAY_TASK_ID * _pack + 1)) -n "$_pack" _line <"$_submission/tasks.tsv" &&
  ((${#_line[@]})); } || _stop "$_submission/tasks.tsv has no slices of task $SLURM_ARRAY_TASK_ID"

# The slice of slot $1: its variables and its log. A line's fields are row, key, columns, log name;
# %b turns \0ooo and the like back into the bytes that they stand for.
_take() {
  _rest=${_line[$1]}
  for _name in SLICE_ROW SLICE SLICE_MASS; do
    [[ $_rest == *$'\t'* ]] ||
      _stop "$_submission/tasks.tsv has no slice for slot $1 of task $SLURM_ARRAY_TASK_ID"
    printf -v _value %b "${_rest%%$'\t'*}"
    export "$_name=$_value"
    _rest=${_rest#*$'\t'}
  done
  printf -v _log %b "$_rest"
  _log=$_submission/logs/$_log
}

# By hand there is no array job: the slice's output goes to the terminal, nothing is recorded.
if [[ -z ${SLURM_ARRAY_JOB_ID:-} ]]; then
  _setup || exit
  set +eu
  _exit=0
  for _slot in "${!_line[@]}"; do
    (
      _take "$_slot"
      _slice
    )
    _exit=$((_exit | $?))
  done
  exit $((_exit ? 1 : 0))
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

# Where Slurm starts the task anew, slices that ended by themselves, or at their own time limit,
# have ended for good; one that was ended from outside (by HUP, INT, KILL or TERM, or told to by one
# of them, whatever it then exited with) runs again.
_kept=() _late=() _lost=() _ok=0
if [[ ${SLURM_RESTART_COUNT:-0} != 0 ]]; then
  _line_of="slurmslice (start|timeout|memory|end) job=$SLURM_ARRAY_JOB_ID restart=[0-9]+ at=[0-9]+"
  _line_of+=' host=[^ ]+ slot=([0-9]+)( (exit|of)=([0-9]+))?( (told=)?|$)'
  while IFS= read -r _said; do
    [[ $_said =~ $_line_of ]] || continue
    _slot=${BASH_REMATCH[2]}
    case ${BASH_REMATCH[1]}${BASH_REMATCH[5]}${_late[_slot]:-}${BASH_REMATCH[7]} in
      start*) unset "_late[$_slot]" "_lost[$_slot]" ;;
      timeout*) _late[_slot]=late ;;
      memory*) _lost[_slot]=${BASH_REMATCH[5]} ;;
      end129 | end130 | end137 | end143 | end*[0-9]told=) ;;
      *) _kept[_slot]=${BASH_REMATCH[5]} ;;
    esac
  done <"$_submission/tasks/$SLURM_ARRAY_TASK_ID.log"
  for _slot in "${!_kept[@]}"; do
    [[ -z ${_late[_slot]:-} ]] || _progress timeout "slot=$_slot"
    [[ -z ${_lost[_slot]:-} ]] || _progress memory "slot=$_slot of=${_lost[_slot]}"
    _progress end "slot=$_slot exit=${_kept[_slot]} kept=1"
    ((_kept[_slot])) || ((_ok += 1))
  done
  ((${#_kept[@]} < ${#_line[@]})) || exit $((_ok < ${#_line[@]}))
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

# Ends slices that take too long; it is a process beside them, and its variables are its own. It
# reads a line for each slice that starts, "slot group", and for each that has ended, "slot 0", and
# is gone when its standard input ends, which is when this script does. A slot whose end was read
# is never signalled, so that its group's number may well be used again.
_watchdog() {
  trap - EXIT
  trap '' HUP INT TERM USR1 USR2 # they are for the slices
  _group=() _due=() _warned=() _clock=0 _text=''
  printf -v _before '%(%s)T' -1
  while :; do
    # What "read" has of a line when its time is over is the beginning of that line.
    IFS= read -r -t 1 _part
    _read=$?
    _text+=$_part
    ((_read == 0 || _read > 128)) || return

    # A second has passed, or less. Much more: the task was suspended, or the clock was set.
    printf -v _now '%(%s)T' -1
    ((_step = _now - _before, _before = _now, _clock += _step < 0 || _step > 2 ? 1 : _step))
    if ((_read == 0)); then
      _slot=${_text% *}
      _group[_slot]=${_text#* } _due[_slot]=$((_clock + _limit + 1)) _text=''
      ((_group[_slot])) || unset "_group[$_slot]" "_due[$_slot]" "_warned[$_slot]"
    fi
    for _slot in "${!_due[@]}"; do
      ((_clock < _due[_slot])) || _overdue "$_slot"
    done
  done
}

# Slot $1 has had its time: SIGTERM, and SIGKILL when the grace is over too.
_overdue() {
  if [[ ${_warned[$1]:-} ]]; then
    kill -s KILL -- "-${_group[$1]}"
  elif kill -0 -- "-${_group[$1]}"; then
    _progress timeout "slot=$1"
    kill -s TERM -- "-${_group[$1]}"
  fi 2>/dev/null
  _warned[$1]=yes _due[$1]=$((_clock + _grace))
}

# A slice's own process: its variables, its log, the command.
_begin() {
  _take "$1"
  [[ -d ${_log%/*} ]] || command mkdir -p "${_log%/*}"
  exec </dev/null >>"$_log" 2>&1 {_out}>&- || exit
  _slice
}

# The kernel's count of processes that it ended for want of memory, cgroups(7), v2 or v1: of the
# group that is this task's alone. Else nothing is counted.
_memory=/dev/null _killed=0
while IFS=: read -r _ _kind _group; do
  for _file in "/sys/fs/cgroup/$_kind$_group"/memory.{events,oom_control}; do
    [[ $_group =~ /(job_$SLURM_JOB_ID|slurmslice-[^/]+)/ && -r $_file ]] && _memory=$_file
  done
done 2>/dev/null </proc/self/cgroup

# Has one been ended since the last look? Then each slice that runs notes how many do: of several
# it is not known whose process it was.
_look() {
  local _slot
  IFS= read -r -d '' _text <"$_memory"
  [[ $_text =~ oom_kill\ ([0-9]+) ]] && ((BASH_REMATCH[1] > _killed)) || return
  _killed=${BASH_REMATCH[1]}
  for _slot in "${!_running[@]}"; do
    ((${_lost[_slot]:-0} == 1)) || _lost[_slot]=${#_running[@]}
  done
}

# Slices run in the background, each as a process group of its own (set -m), and bash waits: so
# signals that Slurm sends to this script (scancel, time limit, --signal=B:) can be passed on.
_start() {
  _look
  unset "_lost[$1]"
  set -m
  (_begin "$1") {_watch}>&- &
  _running[$1]=$!
  set +m
  echo "$1 $!" >&"$_watch"
  [[ -z $_stopping ]] || _pass "$_stopping" # which came before the slice was known
}

# What the slice of group $1 has left running is ended with it, as Slurm does at the end of a script;
# where a signal told it to end (exit code $2), it has its grace to save what it has.
_end_rest() {
  local _left=0
  case $2 in 129 | 130 | 143) _left=$((_grace * 5)) ;; esac
  while kill -0 -- "-$1" && ((_left-- > 0)); do command sleep 0.2; done
  kill -s KILL -- "-$1"
} 2>/dev/null

# A line that must not be lost, or what was done would be done again: a full disk is waited for.
_tell() {
  local _try
  for _try in {1..120}; do
    _progress "$@" && return
    command sleep 5
    echo >&"$_out" # it may have had room for half of it
  done 2>/dev/null
}

# The end of slot $1. A signal ends "wait" early: then it is to be asked again.
_finish() {
  while
    _signalled=
    wait "${_running[$1]}"
    _exit=$?
    [[ $_signalled ]]
  do :; done
  _end_rest "${_running[$1]}" "$_exit"
  _look
  unset "_running[$1]"
  echo "$1 0" >&"$_watch"
  [[ -z ${_lost[$1]:-} ]] || _tell memory "slot=$1 of=${_lost[$1]}"
  _tell end "slot=$1 exit=$_exit${_stopping:+ told=$_stopping}"
  ((_exit)) || ((_ok += 1))
}

_pass() {
  _signalled=yes
  for _group in "${_running[@]}"; do kill -s "$1" -- "-$_group" 2>/dev/null; done
}

_running=() # the slices' process groups, by slot
_stopping=
if ((_limit)); then exec {_watch}> >(_watchdog); else exec {_watch}>/dev/null; fi
trap : PIPE # should the watchdog be killed
trap '_pass USR1' USR1
trap '_pass USR2' USR2
for _signal in HUP INT TERM; do
  # shellcheck disable=SC2064 # as it is now
  trap "_stopping=$_signal; _pass $_signal" "$_signal"
done

for _slot in "${!_line[@]}"; do
  [[ -z ${_kept[_slot]:-} ]] || continue
  [[ -z $_stopping ]] || break
  _progress start "slot=$_slot" || break # disk full? A slice without this line counts as not begun
  _start "$_slot"
  _finish "$_slot"
done
_exit=$((_ok < ${#_line[@]}))
# What the setup has trapped on EXIT runs yet; an "exit" in it does not change what was said.
_end() {
  # shellcheck disable=SC2329 # that trap calls it
  exit() { :; }
  builtin exit "$_exit"
}
_end
