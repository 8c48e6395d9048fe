# worker.sh: runs array tasks of one submission on this machine, one after another.
#
#   bash worker.sh ORDERS ANSWERS GRACE FOLDER inline|each SCRIPT [ARGUMENT]...
#
# ORDERS   file descriptor: the local engine writes "INDEX JOB_ID [CONTROL_GROUP]" for each task
# ANSWERS  file descriptor: the engine reads "ready", and INDEX when a task has ended
# GRACE    seconds from SIGTERM to SIGKILL
# FOLDER   the folder of the submission
# inline   run each task in a subshell, with the functions of SCRIPT and its library
# each     run "bash SCRIPT" for each task
#
# Standard output is the progress file of this worker. The engine starts it as a subreaper (orphans
# of a task become its children), and as the leader of a session. Signals: PWR ends the task (also
# sent by the kernel when the engine has died), ALRM ends it because its time is over, QUIT kills it.
# All names here begin with _.
# shellcheck shell=bash disable=SC2154,SC2329,SC2030,SC2031 # the library sets variables, and calls functions

_orders=$1 _answers=$2 _grace=$3 _folder=$4 _kind=$5 _script=$6 _slot='' _child='' _out=''
shift 6

# Writes a line about the task: its kind $1, its fields $2, and fields for the engine alone $3.
_note() {
  builtin printf 'slurmslice %s job=%s restart=0 at=%(%s)T host=%s %s%stask=%s%s\n' \
    "$1" "$SLURM_ARRAY_JOB_ID" -1 "$HOSTNAME" "$_slot" "${2:+$2 }" "$_index" "${3:-}" >&"$_out"
}

# Writes the line about the end. It must not be lost, so this waits until a full disk has room.
_note_end() {
  local _try=0
  while ((_try++ < 600)); do
    _note end "$@" && return
    read -r -t 1 -u "$_never"
    echo x >&"$_out" # half of the line may have been written: this makes it unreadable
  done
}

# Sets _time to microseconds since the epoch; to whole seconds before bash 5.0.
_read_clock() {
  _time=${EPOCHREALTIME:-}
  _time=${_time/[.,]/}
  [[ $_time ]] || builtin printf -v _time '%(%s)T000000' -1
}

# Sets _kids to the children of this bash.
_list_children() {
  local _file _text
  _kids=''
  if [[ -e /proc/$$/task/$$/children ]]; then
    read -r _kids <"/proc/$$/task/$$/children"
  else # a kernel without CONFIG_PROC_CHILDREN
    for _file in /proc/[0-9]*/stat; do
      read -r _text <"$_file" && [[ $_text =~ ^([0-9]+)\ .*\)\ .\ ([0-9]+) ]] || continue
      ((BASH_REMATCH[2] != $$)) || _kids+=" ${BASH_REMATCH[1]}"
    done
  fi
  return 0
}

# Kills what the task has left: its process group, and its orphans. All that is left of it is below
# this bash: without a child there is nothing, and the usual case costs one small file.
_kill_rest() {
  local _tries=0
  while _list_children && [[ $_kids ]] && ((_tries++ < 500)); do
    # shellcheck disable=SC2086 # numbers
    kill -s KILL -- "-$_child" $_kids
    read -r -t 0.02 -u "$_never"
  done
}

# Tells the task to end, because it is stopped or because of a timeout, and kills it after the grace.
_end_task() {
  _signalled=yes
  kill -0 "$_child" || return
  if [[ $1 == timeout ]]; then _note timeout; else _stopped=1; fi
  _told=TERM
  kill -s TERM -- "-$_child"
  kill -s CONT -- "-$_child"
  (read -r -t "$_grace" -u "$_never" || kill -s QUIT "$$") &
}

_kill_task() {
  _signalled=yes
  [[ ! $_child ]] || _kill_rest
}

# Passes on a signal for the script: of --signal=B:, or of the task itself (kill $$).
_pass_signal() {
  _signalled=yes
  kill -0 "$_child" || return
  case $1 in HUP | INT | TERM) _told=$1 ;; esac
  if [[ $_kind == each ]]; then kill -s "$1" "$_child"; else kill -s "$1" -- "-$_child"; fi
}

# Makes this process, just forked, the task's: closes what is the worker's, enters its control group.
_become_task() {
  exec {_orders}<&- {_answers}>&- {_never}>&-
  [[ ! $_cell ]] || echo 0 >"$_cell/cgroup.procs"
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

# Reads what an inline task reported: "prepared" after prepare, and perhaps its exit code.
_read_report() {
  local _said _prepared=''
  while read -r -t 0 -u "$_report" && read -r -u "$_report" _said; do
    if [[ $_said == prepared ]]; then _prepared=yes; else _exit=$_said; fi
  done
  [[ ! $_prepared ]] || return
  _note setup "exit=$_exit${_told:+ told=$_told}"
  echo "slurmslice: setup exited $_exit, the command was not run" >>"$_folder/tasks/$_index.log"
  ((_exit)) || _exit=1
}

# Reads from the control group if the kernel has killed for memory, and the peak.
_read_memory() {
  local _text='' _file
  for _file in memory.events memory.oom_control; do
    [[ ! -e $_cell/$_file ]] || IFS= read -r -d '' _text <"$_cell/$_file"
  done
  [[ ! $_text =~ oom_kill\ [1-9] ]] || _note memory of=1
  for _file in memory.peak memory.max_usage_in_bytes; do
    [[ ! -e $_cell/$_file ]] || read -r _text <"$_cell/$_file"
  done
  [[ ! $_text =~ ^[0-9]+$ ]] || _rss=" rss=$_text"
}

_serve_task() {
  local _start _told='' _stopped='' _rss='' _signalled='' _exit _tries=0
  _child=''
  _read_clock
  _start=$_time
  _note start format=1 || return
  set -m
  "_run_$_kind" "$@"
  _child=$!
  set +m
  while # a signal ends "wait" early; bash may answer -1 once if the task ended at that moment
    _signalled=''
    wait "$_child"
    _exit=$?
    [[ $_signalled ]] || ((_exit < 0 && _tries++ < 3))
  do :; done
  ((_exit >= 0)) || _exit=255
  _kill_rest
  _child=''
  [[ $_kind == each ]] || _read_report
  [[ ! $_cell ]] || _read_memory
  _read_clock
  times >&"$_out" # the CPU time of all children that were waited for
  _note_end "exit=$_exit${_told:+ told=$_told}${_stopped:+ stopped=1}" " us=$((_time - _start))$_rss"
}

# Serves until ORDERS ends. Exits 3 if the disk is full, 4 if processes are left.
_serve() {
  local _cell _time _signal _kids
  set +o posix
  exec 2>/dev/null {_out}>&1 {_report}<> <(:) {_never}<> <(:)
  wait
  trap '_end_task stop' PWR
  trap '_end_task timeout' ALRM
  trap _kill_task QUIT
  # shellcheck disable=SC2064 # as it is now
  for _signal in HUP INT TERM USR1 USR2; do trap "_pass_signal $_signal" "$_signal"; done
  times >&"$_out"
  echo ready >&"$_answers"
  while read -r -u "$_orders" _index SLURM_JOB_ID _cell; do
    export SLURM_JOB_ID SLURM_ARRAY_TASK_ID=$_index
    _serve_task "$@" || exit 3
    echo "$_index" >&"$_answers"
  done
  _list_children
  [[ ! $_kids ]] || exit 4
  exit 0
}

# The library calls this when it has read its words.
_serve_inline() {
  _line=(direct)
  # A task that cannot find its slice fails by itself, and its setup is not to blame.
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
