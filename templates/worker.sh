# worker.sh: runs the array tasks of one submission on this machine, one after another.
#   bash worker.sh ORDERS ANSWERS GRACE FOLDER inline|each SCRIPT [ARGUMENT]...
# ORDERS and ANSWERS are file descriptors, GRACE is in seconds, FOLDER is the submission's. For each
# task the local engine writes "INDEX JOB_ID [CGROUP]" to ORDERS, and reads INDEX from ANSWERS when
# the task has ended; at first it reads "ready". Standard output is this worker's progress file. "inline" runs each task in a
# subshell that has the functions of SCRIPT, whose library calls _serve; "each" runs bash SCRIPT.

_orders=$1 _answers=$2 _grace=$3 _folder=$4 _kind=$5 _script=$6 _child='' _slot=''
shift 6

# Writes a line about the task: its kind, its own fields, then fields for the engine.
_note() {
  builtin printf 'slurmslice %s job=%s restart=0 at=%(%s)T host=%s %stask=%s%s\n' \
    "$1" "$SLURM_ARRAY_JOB_ID" -1 "$HOSTNAME" "$_slot${2:+$2 }" "$_index" "${3:-}"
}

# An end must not be lost: waits until a full disk has room again.
_note_end() {
  local _try
  for _try in {1..600}; do
    _note end "$@" && return
    read -r -t 1 -u "$_never"
    echo # the disk may have had room for half a line
  done
}

_now() {
  _time=${EPOCHREALTIME:-}
  _time=${_time/[.,]/}
  [[ $_time ]] || builtin printf -v _time '%(%s)T000000' -1 # bash before 5.0
}

# CPU time of all children that were waited for, in milliseconds. "times" prints two lines like
# "0m0.012s 0m0.004s": of this bash, and of its children.
_cpu() {
  local _a _b _c _d _e _f _rest
  times >&"$_ready"
  read -r -u "$_ready"
  IFS='ms., ' read -r -u "$_ready" _a _b _c _d _e _f _rest
  _ms=$(((_a + _d) * 60000 + (_b + _e) * 1000 + 10#$_c + 10#$_f))
}

_list_children() {
  local _file _text
  _kids=''
  if [[ -e /proc/$$/task/$$/children ]]; then
    read -r _kids <"/proc/$$/task/$$/children"
    return 0
  fi
  for _file in /proc/[0-9]*/stat; do # a kernel without the list
    read -r _text <"$_file" || continue
    _text="${_text%% *} ${_text##*) ?}" # its id, and after its name and state its parent's
    [[ $_text != *"  $$ "* ]] || _kids+=" ${_text%% *}"
  done
  return 0
}

# Kills what the task has left: its process group, and orphans, which are children of this bash.
_kill_rest() {
  local _tries=0
  kill -s KILL -- "-$_child"
  while _list_children && [[ $_kids ]] && ((_tries++ < 500)); do
    # shellcheck disable=SC2086 # numbers
    kill -s KILL $_kids
    read -r -t 0.02 -u "$_never"
  done
}

# Tells the running task to end, and kills it after the grace.
_end_task() {
  _signalled=yes
  kill -0 "$_child" || return
  case $1 in
    stop) _stopped=1 ;;
    timeout) _note timeout ;;
  esac
  _told=TERM
  kill -s TERM -- "-$_child"
  kill -s CONT -- "-$_child"
  (read -r -t "$_grace" -u "$_never" || kill -s QUIT "$$") &
}

_kill_task() {
  _signalled=yes
  [[ ! $_child ]] || _kill_rest
}

# Passes a signal on that was sent to the script: by --signal=B:, or by the task itself (kill $$).
_pass() {
  _signalled=yes
  kill -0 "$_child" || return
  case $1 in HUP | INT | TERM) _told=$1 ;; esac
  kill -s "$1" -- "-$_child"
}

# The task's own process: its input and output, its control group.
_enter() {
  exec {_orders}<&- {_answers}>&- {_never}>&- </dev/null || exit 126
  [[ ! $_cell ]] || echo 0 >"$_cell/cgroup.procs"
}

_run_each() {
  (
    _enter
    exec {_ready}>&- >>"$_folder/tasks/$_index.log" 2>&1 || exit 126
    exec "$BASH" "$_script" "$@"
  ) &
}

_read_memory() {
  local _text='' _file
  for _file in memory.events memory.oom_control; do
    [[ ! -e $_cell/$_file ]] || IFS= read -r -d '' _text <"$_cell/$_file"
  done
  [[ ! $_text =~ oom_kill\ [1-9] ]] || _note memory of=1
  for _file in memory.peak memory.max_usage_in_bytes; do
    [[ ! -e $_cell/$_file ]] || read -r _text <"$_cell/$_file" && [[ $_text =~ ^[0-9]+$ ]] &&
      _rss=" rss=$_text"
  done
}

_serve_task() {
  local _start _before _told='' _stopped='' _rss='' _signalled=''
  _child=''
  _now
  _start=$_time
  _note start || return
  set -m
  "_run_$_kind" "$@"
  _child=$!
  set +m
  while
    wait "$_child"
    _exit=$?
    [[ $_signalled ]] || kill -0 "$_child"
  do
    _signalled=''
  done
  _kill_rest
  _child=''
  [[ ! $_cell ]] || _read_memory
  [[ $_kind == each ]] || _note_setup
  _before=$_ms
  _cpu
  _now
  _note_end "exit=$_exit${_told:+ told=$_told}${_stopped:+ stopped=1}" \
    " us=$((_time - _start)) cpu_ms=$((_ms - _before))$_rss"
}

_serve() {
  local _cell _ms=0 _time _exit _signal
  set +o posix
  exec 2>/dev/null {_ready}<> <(:) {_never}<> <(:)
  wait
  trap '_end_task stop' PWR
  trap '_end_task timeout' ALRM
  trap _kill_task QUIT
  # shellcheck disable=SC2064 # as it is now
  for _signal in HUP INT TERM USR1 USR2; do trap "_pass $_signal" "$_signal"; done
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

if [[ $_kind == each ]]; then
  _serve "$@"
fi
# shellcheck source=/dev/null
source "$_script" "$@"
