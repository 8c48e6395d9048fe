# worker.sh: runs array tasks of one submission on this machine, one by one.
#
#   bash worker.sh TASKS EVENTS GRACE FOLDER inline|each SCRIPT [ARGUMENT]...
#
# TASKS    file descriptor: the local engine writes "INDEX JOB_ID [CONTROL_GROUP]" for each task
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

_tasks=$1 _events=$2 _grace=$3 _folder=$4 _kind=$5 _script=$6 _slot='' _child='' _out=''
shift 6

# Writes a line about the task: kind $1, fields $2, and fields $3 that only the engine reads.
_note() {
  builtin printf 'slurmslice %s job=%s restart=0 at=%(%s)T host=%s %s%stask=%s%s\n' \
    "$1" "$SLURM_ARRAY_JOB_ID" -1 "$HOSTNAME" "$_slot" "${2:+$2 }" "$_index" "${3:-}" >&"$_out"
}

# Writes the end line. It must not be lost, so this waits until a full disk has space again.
_note_end() {
  local _try=0
  while ((_try++ < 600)); do
    _note end "$@" && return
    read -r -t 1 -u "$_never"
    echo x >&"$_out" # ends a half-written line, so that it is ignored
  done
}

# Sets _time to microseconds since the epoch. Before bash 5.0 it has whole seconds only.
_read_clock() {
  _time=${EPOCHREALTIME:-}
  _time=${_time/[.,]/}
  [[ $_time ]] || builtin printf -v _time '%(%s)T000000' -1
}

# Sets _children to the children of this bash.
_find_children() {
  local _file _text
  _children=''
  if [[ -e /proc/$$/task/$$/children ]]; then
    read -r _children <"/proc/$$/task/$$/children"
  else # a kernel without CONFIG_PROC_CHILDREN
    for _file in /proc/[0-9]*/stat; do
      read -r _text <"$_file" && [[ $_text =~ ^([0-9]+)\ .*\)\ .\ ([0-9]+) ]] || continue
      ((BASH_REMATCH[2] != $$)) || _children+=" ${BASH_REMATCH[1]}"
    done
  fi
  return 0
}

# Kills the processes that the task left: its process group and its orphans. All of them descend from
# this bash. Usually it has no child, so that this reads one small file.
_kill_left() {
  local _tries=0
  while _find_children && [[ $_children ]] && ((_tries++ < 500)); do
    # shellcheck disable=SC2086 # numbers
    kill -s KILL -- "-$_child" $_children
    read -r -t 0.02 -u "$_never"
  done
}

# Ends the task after "stop" or "timeout" ($1): SIGTERM, then SIGKILL after the grace.
_end_task() {
  _signalled=yes _asked=$1
  [[ $_child ]] || return # _serve_one asks again when the child is known
  kill -0 "$_child" || return
  if [[ $1 == timeout ]]; then _note timeout; else _stopped=1; fi
  _told=TERM
  kill -s TERM -- "-$_child"
  kill -s CONT -- "-$_child"
  (read -r -t "$_grace" -u "$_never" || kill -s QUIT "$$") &
}

_kill_task() {
  _signalled=yes
  [[ ! $_child ]] || _kill_left
}

# Passes on signal $1 to the script. It is from --signal=B:, or from the task itself (kill $$).
_pass_signal() {
  _signalled=yes
  kill -0 "$_child" || return
  case $1 in HUP | INT | TERM) _told=$1 ;; esac
  if [[ $_kind == each ]]; then kill -s "$1" "$_child"; else kill -s "$1" -- "-$_child"; fi
}

# Prepares the forked process of a task: closes the worker's files and enters the control group.
_become_task() {
  exec {_tasks}<&- {_events}>&- {_never}>&-
  [[ ! $_cgroup ]] || echo 0 >"$_cgroup/cgroup.procs"
}

_run_each() {
  (
    _become_task
    exec {_out}>&- {_report}>&- >>"$_folder/tasks/$_index.log" 2>&1 || exit 126
    exec "$BASH" "$_script" "$@"
  ) &
}

_run_inline() {
  (
    _become_task
    if [[ $_pack != 1 ]]; then
      exec {_out}>&-
      exec {_out}>>"$_folder/tasks/$_index.log" || exit 126
      exec >&"$_out" 2>&1
    fi
    _job=$SLURM_ARRAY_JOB_ID _job_id=$SLURM_JOB_ID _restart=0 _host=$HOSTNAME _ok=0 _kept=()
    [[ $_form == direct ]] || _read_slices
    if [[ $_pack == 1 ]]; then
      _take_slice 0
      [[ -d ${_log%/*} ]] || mkdir -p "${_log%/*}"
    fi
    _work
  ) &
}

# Reads the report of an inline task: "prepared" after prepare, and perhaps an exit code.
_read_report() {
  local _text _prepared=''
  while read -r -t 0 -u "$_report" && read -r -u "$_report" _text; do
    if [[ $_text == prepared ]]; then _prepared=yes; else _exit=$_text; fi
  done
  [[ ! $_prepared ]] || return
  _note setup "exit=$_exit${_told:+ told=$_told}"
  echo "slurmslice: setup exited $_exit, the command was not run" >>"$_folder/tasks/$_index.log"
  ((_exit)) || _exit=1
}

# Reads the control group: out-of-memory kills and the memory peak.
_read_memory() {
  local _text='' _file
  for _file in memory.events memory.oom_control; do
    [[ ! -e $_cgroup/$_file ]] || IFS= read -r -d '' _text <"$_cgroup/$_file"
  done
  [[ ! $_text =~ oom_kill\ [1-9] ]] || _note memory of=1
  for _file in memory.peak memory.max_usage_in_bytes; do
    [[ ! -e $_cgroup/$_file ]] || read -r _text <"$_cgroup/$_file"
  done
  [[ ! $_text =~ ^[0-9]+$ ]] || _rss=" rss=$_text"
}

_serve_one() {
  local _start _told='' _stopped='' _rss='' _signalled='' _asked='' _exit _tries=0
  _child=''
  _read_clock
  _start=$_time
  _note start format=1 || return
  set -m
  "_run_$_kind" "$@"
  _child=$!
  set +m
  [[ ! $_asked ]] || _end_task "$_asked"
  while # a signal interrupts "wait"; bash may return -1 once if the task ended at that moment
    _signalled=''
    wait "$_child"
    _exit=$?
    [[ $_signalled ]] || ((_exit < 0 && _tries++ < 3))
  do :; done
  if ((_exit < 0)); then # bash has lost the exit code: if a stop came, the task was interrupted
    _exit=255
    [[ $_asked != stop ]] || _told=TERM _stopped=1
  fi
  _kill_left
  _child=''
  [[ $_kind == each ]] || _read_report
  [[ ! $_cgroup ]] || _read_memory
  _read_clock
  times >&"$_out" # the CPU time of all children that were waited for
  _note_end "exit=$_exit${_told:+ told=$_told}${_stopped:+ stopped=1}" " us=$((_time - _start))$_rss"
}

# Runs tasks until TASKS is closed. Exits 3 if the disk is full, 4 if processes are left.
_serve() {
  local _cgroup _time _signal _children
  set +o posix
  exec 2>/dev/null {_out}>&1 {_report}<> <(:) {_never}<> <(:)
  wait
  trap '_end_task stop' PWR
  trap '_end_task timeout' ALRM
  trap _kill_task QUIT
  # shellcheck disable=SC2064 # as it is now
  for _signal in HUP INT TERM USR1 USR2; do trap "_pass_signal $_signal" "$_signal"; done
  times >&"$_out"
  echo ready >&"$_events"
  while read -r -u "$_tasks" _index SLURM_JOB_ID _cgroup; do
    export SLURM_JOB_ID SLURM_ARRAY_TASK_ID=$_index
    _serve_one "$@" || exit 3
    echo "$_index" >&"$_events"
  done
  _find_children
  [[ ! $_children ]] || exit 4
  exit 0
}

# The library calls this after it has parsed its arguments.
_serve_inline() {
  _line=(direct)
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
