# worker.sh: runs array tasks of one submission on this machine, one by one.
#
#   bash worker.sh TASKS EVENTS GRACE FOLDER inline|each SCRIPT [ARGUMENT]...
#
# TASKS    file descriptor: the local engine writes "INDEX JOB_ID PLACE [CONTROL_GROUP]" for each task;
#          PLACE is its number among the tasks that run at a time
# EVENTS   file descriptor: the engine reads "ready", and INDEX after the end of each task
# GRACE    seconds from SIGTERM to SIGKILL
# FOLDER   the folder of the submission
# inline   run each task in a subshell, with the functions of SCRIPT and its library
# each     run "bash SCRIPT" for each task
#
# Standard output is the progress file of this worker. The engine starts the worker as a subreaper
# (orphans of a task become its children) and as a session leader. Signals: PWR ends the task (the
# kernel also sends PWR after the death of the engine), ALRM ends it at its time limit, and QUIT
# kills it. All names here begin with _.
# shellcheck shell=bash disable=SC2154,SC2329,SC2030,SC2031 # the library sets variables, and calls functions

# The engine set it for this bash, not for the tasks.
[[ ${GLIBC_TUNABLES:-} != glibc.malloc.tcache_count=0 ]] || unset GLIBC_TUNABLES

_tasks=$1 _events=$2 _grace=$3 _folder=$4 _kind=$5 _script=$6 _slot='' _child='' _out=''
_array_job=$SLURM_ARRAY_JOB_ID # a slice may not have it
shift 6

# Writes a line about the task: kind $1, fields $2, and fields $3 that only the engine reads.
_note() {
  # shellcheck disable=SC2059 # one format for all lines
  builtin printf "$_format" "$1" "$_array_job" -1 "$HOSTNAME" "$_slot${2:+$2 }" "$_index" \
    "${3:-}" >&"$_out"
}
_format='slurmslice %s job=%s restart=0 at=%(%s)T host=%s %stask=%s%s\n'

# Writes the end line. It must not be lost, so this waits until a full disk has space again.
_note_end() {
  local _try=0
  while ((_try++ < 600)); do
    _note end "$@" && return
    read -r -t 1 -u "$_never"
    echo x >&"$_out" # ends a half-written line, so that it is ignored
  done
}

# Prints the time as EPOCHREALTIME does, which bash has since version 5.0.
_whole_seconds() {
  builtin printf '%(%s)T.000000' -1
}

# Sets _children to the children of this bash.
_find_children() {
  local _file _text
  _children=''
  if [[ $_children_file ]]; then
    read -r _children <"$_children_file"
  else # a kernel without CONFIG_PROC_CHILDREN
    for _file in /proc/[0-9]*/stat; do
      read -r _text <"$_file" && [[ $_text =~ ^([0-9]+)\ .*\)\ .\ ([0-9]+) ]] || continue
      ((BASH_REMATCH[2] != $$)) || _children+=" ${BASH_REMATCH[1]}"
    done
  fi
  return 0
}

# Kills the processes that the task left: its process group and its orphans. All of them descend from
# this bash.
_kill_left() {
  local _tries=0
  while _find_children && [[ $_children ]] && ((_tries++ < 500)); do
    # shellcheck disable=SC2086 # numbers
    kill -s KILL -- "-$_child" $_children
    read -r -t 0.02 -u "$_never"
  done
}

# Ends the task after "stop" or "timeout" ($1): SIGTERM, then SIGKILL after the grace. The runner
# repeats its signal until the task has ended, because bash loses a trap if another signal comes
# while it begins.
_end_task() {
  _signalled=yes _asked=$1
  [[ $_child && ! $_has_grace ]] || return # _serve asks again when the child is known
  kill -0 "$_child" || return
  if [[ $1 == timeout ]]; then
    [[ $_late ]] || _note timeout
    _late=yes
  else
    _stopped=1
  fi
  _told=TERM
  kill -s TERM -- "-$_child"
  kill -s CONT -- "-$_child"
  (read -r -t "$_grace" -u "$_never" || kill -s QUIT "$$") &
  _has_grace=yes
}

# Kills the task: the grace is over, or the runner cannot wait. Without an earlier signal it is a stop.
_kill_task() {
  _signalled=yes _killed=yes
  [[ $_child ]] || return # _serve kills it when the child is known
  [[ $_late || $_stopped ]] || ! kill -0 "$_child" || _told=TERM _stopped=1
  _kill_left
}

# Passes on signal $1 to the script. It is from --signal=B:, from the task itself (kill $$), or URG:
# the dispatcher of a pack then looks for cancelled slices.
_pass_signal() {
  _signalled=yes
  kill -0 "$_child" || return
  case $1 in HUP | INT | TERM) _told=$1 ;; esac
  if [[ $_kind == each ]]; then kill -s "$1" "$_child"; else kill -s "$1" -- "-$_child"; fi
}

# Starts the script of the task in a process group of its own.
_run_each() {
  (
    [[ ! $_cgroup ]] || echo 0 >"$_cgroup/cgroup.procs"
    exec {_out}>&- {_report}>&- >>"$_folder/tasks/$_index.log" 2>&1 || exit 126
    export SLURMSLICE_PLACE=$_place
    exec "$BASH" "$_script" "$@"
  ) {_tasks}<&- {_events}>&- {_never}>&- &
}

# Starts the functions of the script in a fork of this bash.
_run_inline() {
  (
    [[ ! $_cgroup ]] || echo 0 >"$_cgroup/cgroup.procs"
    if [[ $_pack != 1 ]]; then
      exec {_out}>&-
      exec {_out}>>"$_folder/tasks/$_index.log" || exit 126
      exec >&"$_out" 2>&1
    fi
    _job_id=$SLURM_JOB_ID _ok=0 _kept=()
    [[ $_form == direct ]] || _read_slices
    [[ $_pack != 1 ]] || _take_slice 0
    _work
  ) {_tasks}<&- {_events}>&- {_never}>&- &
}

# Records that the setup failed. It may have ended the task with exit 0.
_note_failed_setup() {
  _note setup "exit=$_exit${_told:+ told=$_told}"
  echo "slurmslice: setup exited $_exit, the command was not run" >>"$_folder/tasks/$_index.log"
  ((_exit)) || _exit=1
}

# Reads the control group: out-of-memory kills, and the memory peak with the file cache.
_read_memory() {
  local _text='' _file
  for _file in memory.events memory.oom_control; do
    [[ ! -e $_cgroup/$_file ]] || IFS= read -r -d '' _text <"$_cgroup/$_file"
  done
  [[ ! $_text =~ oom_kill\ [1-9] ]] || _lost=memory
  [[ ! $_lost ]] || _note memory of=1
  for _file in memory.peak memory.max_usage_in_bytes; do
    [[ ! -e $_cgroup/$_file ]] || read -r _text <"$_cgroup/$_file"
  done
  [[ ! $_text =~ ^[0-9]+$ ]] || _peak=" with_cache=$_text"
}

# Runs tasks until TASKS is closed. Exits 3 if the disk is full, 4 if processes are left.
_serve() {
  local _cgroup _signal _children _children_file _started _ended _text
  local _log _lost
  local _told _stopped _late _has_grace _peak _signalled _asked _killed _prepared _exit _tries
  set +o posix
  _children_file=/proc/$$/task/$$/children
  [[ -e $_children_file ]] || _children_file=''
  exec 2>/dev/null {_out}>&1 {_report}<> <(:) {_never}<> <(:)
  wait
  trap '_end_task stop' PWR
  trap '_end_task timeout' ALRM
  trap _kill_task QUIT
  # shellcheck disable=SC2064 # as it is now
  for _signal in HUP INT TERM URG USR1 USR2; do trap "_pass_signal $_signal" "$_signal"; done
  times >&"$_out"
  echo ready >&"$_events"
  while read -r -u "$_tasks" _index SLURM_JOB_ID _place _cgroup; do
    export SLURM_JOB_ID SLURM_JOBID=$SLURM_JOB_ID SLURM_ARRAY_TASK_ID=$_index
    _told='' _stopped='' _late='' _has_grace='' _peak='' _asked='' _killed='' _child='' _prepared='' _tries=0 _log='' _lost=''
    _started=${EPOCHREALTIME:-$(_whole_seconds)}
    _note start format=1 || exit 3
    set -m
    "_run_$_kind" "$@"
    _child=$!
    set +m
    [[ ! $_asked ]] || _end_task "$_asked" # it came before the child was known
    [[ ! $_killed ]] || _kill_task
    # A signal ends "wait" early, with a code of its own, so the second code is taken. Bash may
    # return -1 if the task ended at that moment; then it knows the code a little later.
    while kill -0 "$_child"; do wait "$_child"; done
    while
      _signalled=''
      wait "$_child"
      wait "$_child"
      _exit=$?
      [[ $_signalled ]] || ((_exit < 0 && _tries++ < 3))
    do :; done
    # Usually the task left no process. Then this reads one small file.
    read -r _children <"$_children_file"
    [[ ! $_children && $_children_file ]] || _kill_left
    _child=''
    # The report of an inline task: "prepared" and its log after prepare, and perhaps an exit code.
    while read -r -t 0 -u "$_report" && read -r -u "$_report" _text; do
      case $_text in
        "prepared "?*) _prepared=yes _log=$_submission/logs/${_text#prepared } ;;
        prepared*) _prepared=yes ;;
        "ended "*) ((_exit >= 0)) || _exit=${_text##* } ;;
        *) _exit=$_text ;;
      esac
    done
    if ((_exit < 0)); then # bash has lost the exit code: if a stop came, the task was interrupted
      _exit=255
      [[ $_asked != stop ]] || _told=TERM _stopped=1
    fi
    [[ $_prepared || $_kind == each ]] || _note_failed_setup
    [[ ! $_cgroup ]] || _read_memory
    _ended=${EPOCHREALTIME:-$(_whole_seconds)}
    times >&"$_out" # the CPU time of all children that were waited for
    _note_end "exit=$_exit${_told:+ told=$_told}${_stopped:+ stopped=1}" \
      " us=$((${_ended/[.,]/} - ${_started/[.,]/}))$_peak" && _drop_log
    echo "$_index" >&"$_events"
  done
  [[ $_kind == each ]] || _remove_logs
  _find_children
  [[ ! $_children ]] || exit 4
  exit 0
}

# Removes the log of an inline task with one slice if it is empty, or not to be kept.
_drop_log() {
  [[ ! $_log ]] || ! _make_section 0 "${_told:-${_lost:-$_exit}}" 0 " task=$_index" ||
    { builtin printf %s "$_section" >&"$_out" && _discard_log; }
}

# The library calls this after it has parsed its arguments.
_serve_inline() {
  _line=(direct) _unneeded=() _job=$_array_job _restart=0 _host=$HOSTNAME
  # A task that does not find its slice fails, but not because of its setup.
  _stop() {
    echo "slurmslice: $1" >>"$_folder/tasks/$_index.log"
    echo prepared >&"$_report"
    exit 2
  }
  if [[ $_pack == 1 ]]; then
    _slot='slot=0 '
    # The worker itself writes the start and the end of a task with one slice.
    _progress() {
      [[ $1 == start ]] || _note "$1" "${2#slot=0 }"
    }
  fi
  _serve
}

[[ $_kind == inline ]] || _serve "$@"
# shellcheck source=/dev/null
source "$_script" "$@"
