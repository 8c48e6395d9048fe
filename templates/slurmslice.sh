# slurmslice.sh: the bookkeeping of an array task. It finds the slices of the task, runs them and
# records how each of them ended. The text is constant: it is the same in every run.
#
#   source RUN/slurmslice.sh FORM [OPTION]... -- "$@"
#
# FORM     direct: the array index is the key. table: the index names lines of tasks.tsv.
# OPTION   pack=K        slices in a task
#          at_once=P     slices of a task that run at the same time
#          slice_time=S  seconds that a slice of a pack may take; 0: as long as its task
#          slices=N      slices in the run
#          ids=A-B[:S]   the slices are from a range: its lowest and highest number, and its step
#          scattered     direct: the row of a slice does not follow from ids; slices.tsv has it
#          check         run check_slice after the command exited 0
#          log_folders   direct: a folder for every 1,000 logs
#          keep_logs=failed  remove the log of a slice that is done
#          output        name_output names the files for the output of a slice
#          open_mode=M   append or truncate for these files
#          run=DIR       the run directory; without it, the folder of this file
# "$@"     the arguments of script.sh: [SUBMISSION [SECONDS_A_SLICE]]
#
# script.sh defines prepare, run_slice and, for "check", check_slice, for "output", name_output. All names here begin with _.
# This file never returns. script.sh goes on to "exit 125" only if it cannot be read: then no slice
# has begun. So everything here is a function, and the last line calls the first one.
#
# Process tree: the supervisor (script.sh) -> a child, which runs prepare -> the slice, or, in a
# pack, the dispatcher and its slices. The supervisor shares no variable, option or trap with
# prepare, so nothing in prepare can keep it from recording the end.
# shellcheck shell=bash

\builtin unalias -a
builtin set +o posix

_main() {
  _restore_shell
  _read_words "$@"
  _describe_slice
  _read_common
  [[ $_pack != 1 ]] || _share_variables
  _find_place
  ! declare -F _serve_inline >/dev/null || _serve_inline # a worker of the local engine: worker.sh
  _job=${SLURM_ARRAY_JOB_ID:-} _job_id=${SLURM_JOB_ID:-} _restart=${SLURM_RESTART_COUNT:-0}
  _index=${SLURM_ARRAY_TASK_ID:-} _host=${SLURMD_NODENAME:-$HOSTNAME} _ok=0 _kept=() _unneeded=()
  [[ $_index =~ ^(0|[1-9][0-9]*)$ ]] ||
    _stop "no array index. All slices: sbatch script.sh. One task: SLURM_ARRAY_TASK_ID=N bash script.sh"
  [[ -d $_submission ]] ||
    _stop "there is no $_submission. If the run was moved, change --output and the source line of script.sh"
  _read_slices
  [[ $_pack != 1 ]] || _take_slice 0
  [[ $_job ]] || _run_by_hand
  exec {_out}>&1 # standard output is the file tasks/<index>.log
  _claim_submission
  if [[ $_pack != 1 && $_restart != 0 ]]; then
    _keep_ended
    ((${#_kept[@]} < ${#_line[@]})) || exit "$((_ok < ${#_line[@]}))"
  fi
  _supervise
}

# Removes what script.sh or prepare may have set and what would change the code here: aliases,
# options, traps, and functions that hide the commands of bash.
_restore_shell() {
  \builtin unalias -a
  builtin set +euETkm +o posix
  builtin trap - CHLD ERR DEBUG RETURN
  builtin unset -f : [ break cd command continue declare echo exec exit export false kill let local \
    mapfile printf read return set shift test trap true unset wait
}

_stop() {
  echo "slurmslice: $1" >&2
  exit 2
}

_read_words() {
  local _word _function
  _run=${BASH_SOURCE[0]%/*} _form='' _pack=1 _at_once=1 _slice_time=0 _check='' _log_folders='' _keep_logs=all
  _slices='' _ids='' _scattered='' _output='' _open_mode=''
  _grace=30 # seconds from SIGTERM to SIGKILL at a slice's own time limit: Slurm's usual KillWait
  while (($#)); do
    _word=$1
    shift
    case $_word in
      direct | table) _form=$_word ;;
      pack=*) _pack=${_word#*=} ;;
      at_once=*) _at_once=${_word#*=} ;;
      slice_time=*) _slice_time=${_word#*=} ;;
      slices=*) _slices=${_word#*=} ;;
      ids=*) _ids=${_word#*=} ;;
      scattered) _scattered=yes ;;
      check) _check=yes ;;
      log_folders) _log_folders=yes ;;
      keep_logs=*) _keep_logs=${_word#*=} ;;
      output) _output=yes ;;
      open_mode=append | open_mode=truncate) _open_mode=${_word#*=} ;;
      run=*) _run=${_word#*=} ;;
      --) break ;;
      *) _stop "'$_word' is not a word for slurmslice.sh. Restore the source line of script.sh" ;;
    esac
  done
  _submission=$_run/submissions/${1:-001} _slice_time=${2:-$_slice_time}
  [[ $_form && $_pack =~ ^[1-9][0-9]{0,8}$ && $_at_once =~ ^[1-9][0-9]{0,8}$ ]] ||
    _stop "usage: source RUN/slurmslice.sh direct|table [pack=K] [at_once=P] … -- \"\$@\""
  [[ $_slice_time =~ ^(0|[1-9][0-9]{0,8})$ ]] ||
    _stop "$_slice_time is no number of seconds. Usage: script.sh [SUBMISSION [SECONDS_A_SLICE]]"
  [[ ! $_ids || $_ids =~ ^(0|[1-9][0-9]{0,17})-(0|[1-9][0-9]{0,17})(:([1-9][0-9]{0,17}))?$ ]] ||
    _stop "ids=$_ids is no range. Restore the source line of script.sh"
  _lowest=${BASH_REMATCH[1]:-} _highest=${BASH_REMATCH[2]:-} _step=${BASH_REMATCH[4]:-1}
  for _function in prepare run_slice ${_check:+check_slice} ${_output:+name_output}; do
    declare -F "$_function" >/dev/null || _stop "script.sh does not define the function $_function"
  done
}

# Writes a line for "slurmslice status": its kind $1, and its own fields $2. One write, no process.
_progress() {
  builtin printf 'slurmslice %s job=%s restart=%s at=%(%s)T host=%s %s\n' \
    "$1" "$_job" "$_restart" -1 "$_host" "$2" >&"$_out"
}

# Sets _now to a clock in microseconds. Its zero means nothing.
_read_clock() {
  local IFS=' '
  _now=${EPOCHREALTIME:-}
  if [[ $_now ]]; then
    _now=${_now/[.,]/}
  elif read -r _now _ </proc/uptime; then # bash before 5.0; hundredths of a second
    _now=$((10#${_now/./}0000))
  fi 2>/dev/null
}

# Sets _cpu to the CPU time of the ended children of this process, microseconds; empty if the kernel
# does not tell. proc(5): fields 16 and 17 of stat, in hundredths of a second.
_read_cpu() {
  local IFS=' ' _text='' _field
  _cpu=''
  read -r _text </proc/self/stat || return 0
  # shellcheck disable=SC2206 # numbers
  _field=(${_text#*) }) # this process is bash or slurm_script; ## would take as long as a fork
  [[ ! ${_field[14]:-} ]] || _cpu=$(((_field[13] + _field[14]) * 10000))
} 2>/dev/null

# Sets _figures to the fields of the end line: the time since $1, and the CPU time $2 unless empty.
_measure() {
  _read_clock
  _figures=" us=$((_now - $1))${2:+ cpu_us=$2}"
}

# Claims the submission for this array: the first array whose id is in the file "job" owns it. If
# the submission was sent twice, the tasks of the other array stop here, so no slice runs twice.
# The id is written beside the file and linked, or created by set -C, so that the file is never
# seen half written.
_claim_submission() {
  local _owner='' _mine=$_submission/job.$_job.$_index _try
  for _try in {1..20}; do
    [[ -e $_submission/job ]] || {
      echo "$_job" >|"$_mine" &&
        { ln "$_mine" "$_submission/job" || (set -C && cat "$_mine" >"$_submission/job"); }
    } || :
    read -r _owner <"$_submission/job" && break
    sleep 0.5 # another task is writing it, or the disk is full
  done 2>/dev/null
  [[ ! -e $_mine ]] || rm -f "$_mine"
  [[ $_owner == "$_job" ]] && return
  _progress refused "owner=$_owner"
  _stop "not run: $_submission/job names ${_owner:-no job}, this is job $_job"
}

# ---- The slices of the task

# Makes the variables of the request those of a slice, because a task that runs P slices at a time
# requests P times as much. Removes the variables of an MPI launch around it, and sbatch's
# --export=NONE, which srun would otherwise obey too: a step sees what the slice sees.
_describe_slice() {
  local _name _share _whole='^(.*cpu[:=])?([0-9]{1,9})(,.*)?$'
  [[ ! ${PMI_RANK:-}${PMIX_RANK:-}${OMPI_COMM_WORLD_RANK:-} ]] ||
    unset "${!PMI_@}" "${!PMIX_@}" "${!OMPI_@}"
  unset SLURM_EXPORT_ENV
  ((_at_once > 1)) || return 0
  for _name in SLURM_{CPUS_PER_TASK,CPUS_ON_NODE,JOB_CPUS_PER_NODE,MEM_PER_NODE,TRES_PER_TASK}; do
    [[ ${!_name:-} =~ $_whole ]] || continue
    ((_share = BASH_REMATCH[2] / _at_once)) || _share=1
    export "$_name=${BASH_REMATCH[1]}$_share${BASH_REMATCH[3]}"
  done
}

# Reads what all tasks of the submission share. In the direct form that is the attempt of each slice
# and its continuations (lines "NUMBER INDEX,INDEX…", or "NUMBER *" for all), and perhaps the rows.
_read_common() {
  _attempts=() _continued=() _rows=''
  [[ $_form == direct ]] || return 0
  [[ ! -e $_submission/attempts ]] || mapfile -t _attempts <"$_submission/attempts"
  [[ ! -e $_submission/continued ]] || mapfile -t _continued <"$_submission/continued"
  [[ ! $_scattered ]] || IFS= read -r -d '' _rows <"$_run/slices.tsv"
}

# Reads the lines of the task table for this task: slot S of task I is line I * pack + S, counted
# from 0 below the header. The header has the names of the columns.
_read_slices() {
  local LC_ALL=C _table=$_submission/tasks.tsv _head='' _name
  _line=(direct) _names=()
  [[ $_form == table ]] || return
  _line=()
  { read -r _head && mapfile -t -s "$((_index * _pack))" -n "$_pack" _line; } <"$_table"
  ((${#_line[@]})) || _stop "$_table has no slice of task $_index"
  while [[ $_head == *$'\t'* ]]; do
    _name=${_head%%$'\t'*} _head=${_head#*$'\t'}
    [[ $_name =~ ^[A-Za-z_][A-Za-z0-9_]*$ ]] || _stop "$_table has no valid header"
    _names+=("SLICE_${_name^^}")
  done
  ((${#_names[@]} > 1)) || _stop "$_table has no valid header"
  _names[0]=SLICE_ROW _names[1]=SLICE
}

# Exports the variables that are the same for all slices. In a pack the setup does not see them.
_share_variables() {
  _width=${SLURM_ARRAY_TASK_COUNT:-1} # the tasks of this submission
  export SLICE_COUNT=$_slices SLICE_ATTEMPT=1 SLICE_CONTINUED=0
  [[ ! ${SLURM_ARRAY_JOB_ID:-} ]] || export SLURMSLICE_ARRAY_JOB_ID=$SLURM_ARRAY_JOB_ID
  [[ ! $_ids ]] || export SLURM_ARRAY_TASK_COUNT=$_slices SLURM_ARRAY_TASK_MIN=$_lowest \
    SLURM_ARRAY_TASK_MAX=$_highest SLURM_ARRAY_TASK_STEP=$_step
}

# Sets _place to the number of this task among those that run at a time: the local engine tells it.
_find_place() {
  _place=0 _seat=()
  [[ ! ${SLURMSLICE_PLACE:-} =~ ^(0|[1-9][0-9]{0,8})$ ]] || _place=$SLURMSLICE_PLACE
  unset SLURMSLICE_PLACE
}

# Sets _seat[$1] to the lowest number that no running slice of this task has.
_choose_seat() {
  local _slot _taken=' '
  for _slot in "${!_running[@]}"; do _taken+="${_seat[_slot]} "; done
  _seat[$1]=0
  while [[ $_taken == *" ${_seat[$1]} "* ]]; do ((_seat[$1] += 1)); done
}

# Exports the variables of the slice in slot $1, and sets _log to its log. From here on only
# _job and _index have Slurm's own ids. The program may write to SLURMSLICE_ERROR why it failed.
_take_slice() {
  export SLURMSLICE_ARRAY_TASK_ID=$_index SLICE_SLOT=$((_place * _at_once + ${_seat[$1]:-0}))
  if [[ $_form == direct ]]; then
    _take_index
    export SLURMSLICE_ERROR=$_log.error
    return
  fi
  _take_line "$1"
  export SLURMSLICE_ERROR=$_log.error
  [[ $_ids && $SLICE && $SLICE != *[!0-9]* ]] || return 0
  export SLURM_ARRAY_TASK_ID=$((10#$SLICE))
  # "scontrol requeue JOB_NUMBER" must not name the task of another slice.
  [[ $_pack != 1 || $SLURM_ARRAY_TASK_ID != "$_index" ]] || return 0
  if [[ ${SLURM_JOB_ID:-} == "${SLURM_ARRAY_JOB_ID:-}" && $_width != 1 ]]; then
    # The last task to start has the id of the array: to requeue it is to requeue all tasks. So the
    # command must not fall back to SLURM_JOB_ID. No job has the id 0.
    SLURM_ARRAY_JOB_ID=0
  else
    unset SLURM_ARRAY_JOB_ID
  fi
}

_take_index() {
  local _those _row='' _pattern=$'\n([0-9]+)\t'"$_index"$'\t'
  _log=$_submission/logs/${_log_folders:+$((_index / 1000))/}$_index.log
  if [[ $_scattered ]]; then
    [[ ! $_rows =~ $_pattern ]] || _row=${BASH_REMATCH[1]}
  elif [[ $_ids ]]; then
    _row=$(((_index - _lowest) / _step))
  fi
  export SLICE=$_index SLICE_ROW=$_row
  for _those in "${_attempts[@]}"; do
    [[ $_those != *' *' && ,${_those#* }, != *",$_index,"* ]] || SLICE_ATTEMPT=${_those%% *}
  done
  for _those in "${_continued[@]}"; do
    [[ $_those != *' *' && ,${_those#* }, != *",$_index,"* ]] || SLICE_CONTINUED=${_those%% *}
  done
}

# The fields of a line are row, key, columns and log name; %b turns \0ooo back into the byte it
# stands for.
_take_line() {
  local _rest=${_line[$1]} _name _value
  for _name in "${_names[@]}"; do
    [[ $_rest == *$'\t'* ]] ||
      _stop "$_submission/tasks.tsv has no slice for slot $1 of task $_index"
    printf -v _value %b "${_rest%%$'\t'*}"
    export "$_name=$_value"
    _rest=${_rest#*$'\t'}
  done
  _find_log "$1"
}

# Sets _log to the log of slot $1: the last field of its line names it.
_find_log() {
  printf -v _log %b "${_line[$1]##*$'\t'}"
  _log=$_submission/logs/$_log
}

# ---- The files for the output of a slice

# Makes standard output and standard error of this process those of slot $1: its log, or the files
# that script.sh names. Fails if a file cannot be written.
_open_output() {
  local _stdout='' _stderr='' _size _sizes
  if [[ $_output ]]; then
    [[ -d ${_log%/*} ]] || command mkdir -p -- "${_log%/*}" # for SLURMSLICE_ERROR
    _number=${SLICE_ROW:-0}
    [[ ! $_ids || ! $SLICE || $SLICE == *[!0-9]* ]] || _number=$((10#$SLICE))
    name_output
    [[ $_stderr != "$_stdout" ]] || _stderr=''
    _ready_file "$1" "$_stdout" && _sizes=" from=$_size" && _ready_file "$1" "$_stderr" || return
    _note_output "$1" "$_sizes" " err_from=$_size"
  fi
  _stdout=${_stdout:-$_log}
  [[ -d ${_stdout%/*} ]] || command mkdir -p -- "${_stdout%/*}"
  if [[ $_stderr ]]; then
    exec >>"$_stdout" 2>>"$_stderr"
  else
    exec >>"$_stdout" 2>&1
  fi
}

# Makes the folder of file $2 of slot $1, and empties the file if it is not to be continued: by
# default one that is older than the run. Sets _size to the bytes in it.
_ready_file() {
  _size=0
  [[ $2 ]] || return 0
  [[ -d ${2%/*} ]] || command mkdir -p -- "${2%/*}"
  if [[ ! -s $2 ]]; then
    : >>"$2"
  elif [[ $_open_mode == truncate ]] ||
    [[ ! $_open_mode && $SLICE_ATTEMPT == 1 && $_restart == 0 && ! $2 -nt $_run/run.json ]]; then
    : >|"$2"
  else
    _size=$(command stat -Lc %s -- "$2") && [[ -w $2 ]]
  fi && return
  echo "slurmslice: slot $1 cannot write to $2" >>"$_submission/tasks/$_index.log"
  return 1
} 2>/dev/null

# Writes the line that names the files of slot $1, for "slurmslice logs".
_note_output() {
  local _fields='' _name _text
  for _name in _stdout _stderr; do
    [[ ${!_name} ]] || continue
    _text=${!_name//%/%25} _text=${_text// /%20}
    if [[ $_name == _stdout ]]; then
      _fields+="$2 out=${_text//[[:cntrl:]]/?}"
    else
      _fields+="$3 err=${_text//[[:cntrl:]]/?}"
    fi
  done
  _progress output "slot=$1$_fields"
}

# Runs the slices one after another in the terminal. Without an array job nothing is recorded.
_run_by_hand() {
  local _slot _exit _failed=0
  prepare
  _exit=$?
  _restore_shell
  ((_exit == 0)) || exit "$_exit"
  [[ $_pack == 1 ]] || _share_variables
  for _slot in "${!_line[@]}"; do
    (
      [[ $_pack == 1 ]] || _take_slice "$_slot"
      # shellcheck disable=SC2030 # it is for this slice
      export SLURMSLICE_ERROR=/dev/stderr
      _question='' _before=''
      [[ ! $_check ]] || _before=$(_ask_check before)
      (run_slice)
      _exit=$?
      [[ $_exit == 0 && $_check ]] || exit "$_exit"
      check_slice
    )
    _exit=$?
    ((_exit == 0)) || _failed=$((_pack == 1 ? _exit : 1))
  done
  exit "$_failed"
}

# ---- The supervisor and its child

# Runs the task in a child, which has a process group of its own (set -m), and passes signals on to
# that group: Slurm signals this script at scancel, at the time limit and for --signal=B:.
_supervise() {
  local _signal _usage='' _watch _answers
  _child='' _told='' _early='' _asked=''
  _read_clock
  _since=$_now
  exec {_report}<> <(:) # a pipe without a name, for what the child reports
  [[ $_pack != 1 ]] || _find_control_group
  _start_watchdog "$_usage"
  trap '_signalled=yes; _signal_child USR1' USR1
  trap '_signalled=yes; _signal_child USR2' USR2
  [[ $_pack == 1 ]] || trap '_signalled=yes _asked=yes; [[ ! $_child ]] || _signal_child URG' URG
  for _signal in HUP INT TERM; do
    # shellcheck disable=SC2064 # $_signal as it is now
    trap "_signalled=yes _told=$_signal; _signal_child $_signal" "$_signal"
  done
  set -m
  (_work) </dev/null {_watch}>&- {_answers}>&- &
  _child=$!
  set +m
  echo "0 $_child" >&"$_watch"
  [[ ! $_early ]] || _signal_child "$_early" # it came before the child was known

  _await_child "$_child" _repeat_signal
  _read_cpu
  _measure "$_since" "$_cpu"
  _end_watch 0 "$((_now - _since))"
  if _record_end && [[ $_pack == 1 ]] && _make_section 0 "${_told:-$_exit}" 4096; then
    builtin printf %s "$_section" >&"$_out" && _discard_log
    _remove_logs
  fi
  exit "$_exit"
}

_signal_child() {
  if [[ $_child ]]; then
    kill -s "$1" -- "-$_child" 2>/dev/null
  else
    _early=$1
  fi
}

# Sets _exit to the exit code of child $1. A signal ends "wait" early with a code of its own, and
# perhaps the next "wait" too. So a code that may be a signal's counts if the child is gone and the
# code came twice. It is -1 if a signal came at the moment of the end: bash has then lost it. Calls $2
# after a signal that asks for it.
_await_child() {
  local _last=''
  while :; do
    [[ ! $_asked ]] || "$2"
    _signalled=''
    wait "$1"
    _exit=$?
    if [[ $_signalled ]]; then
      _last=''
    elif ((_exit >= 0 && _exit <= 128)); then
      return
    elif [[ $_exit == "$_last" ]] && ! kill -0 "$1" 2>/dev/null; then
      break
    else
      _last=$_exit
    fi
  done
}

# Tells the dispatcher again to look for cancelled slices: the first signal may have come just before
# its "wait", which then does not end early. If another signal has come, that one does the same, and
# bash may lose one of two that come together.
# shellcheck disable=SC2329 # _await_child calls it
_repeat_signal() {
  _asked='' _signalled=''
  command sleep 0.2
  [[ $_signalled ]] || _signal_child URG
}

# Records how the child ended, and sets _exit to the exit code of the task. A prepare that fails,
# exits (even with 0) or gives its process away by exec never looks like a slice that is done.
# Fails if the line could not be written.
_record_end() {
  local _said _prepared='' _written=0
  while read -r -t 0 -u "$_report" && read -r -u "$_report" _said; do
    case $_said in
      prepared*) _prepared=yes ;;
      ended*) ((_exit >= 0)) || _exit=${_said##* } ;;
      *) _exit=$_said ;;
    esac
  done
  ((_exit >= 0)) || _exit=255
  if [[ ! $_prepared ]]; then
    _progress setup "exit=$_exit${_told:+ told=$_told}" || _written=1
    echo "slurmslice: setup exited $_exit, the command was not run" >&2
    ((_exit)) || _exit=1
  elif [[ $_pack == 1 ]]; then
    _progress end "slot=0 exit=$_exit${_told:+ told=$_told}$_figures" || _written=1
  fi
  return "$_written"
}

# The child. It reports "prepared" after prepare, and its exit code if a trap on EXIT might change
# that. The output of prepare goes to the log of the slice; in a pack, to that of the task.
_work() {
  if [[ $_pack == 1 ]]; then
    _open_output 0 || {
      echo prepared >&"$_report" # the log cannot be written: prepare is not to blame
      exit 1
    }
  fi
  prepare
  _exit=$?
  _restore_shell
  ((_exit == 0)) || exit "$_exit"
  _find_exit_trap
  echo "prepared ${_log#"$_submission/logs/"}" >&"$_report" # a worker does not know the log
  if [[ $_pack != 1 ]]; then _dispatch; fi
  _bell=$_report
  _progress start "slot=0 format=1"
  _run_slot 0
}

# Sets _trapped if prepare has set a trap on EXIT. It is asked through the pipe, without a process.
_find_exit_trap() {
  _trapped=''
  trap -p EXIT >&"$_report"
  while read -r -t 0 -u "$_report"; do IFS= read -r -u "$_report" _trapped; done
}

# Runs the command of slot $1 and, if it exits 0, its check. Ends this process with the exit code
# of the command, or of the check. After a signal bash ends when the program that it runs has
# ended, which gets the signal as well.
_run_slot() {
  # shellcheck disable=SC2031
  [[ -d ${SLURMSLICE_ERROR%/*} ]] || command mkdir -p -- "${SLURMSLICE_ERROR%/*}" # the output is elsewhere
  # shellcheck disable=SC2031
  [[ ! -e $SLURMSLICE_ERROR ]] || command rm -f -- "$SLURMSLICE_ERROR"            # of an earlier start
  trap 'exit 143' TERM
  trap : USR1 USR2
  [[ ! $_check && ! $_trapped ]] || _run_below "$1"
  run_slice {_out}>&- {_report}>&- {_bell}>&-
  _leave "$1" "$?" # without an exit bash would ignore a signal that came in the last moment
}

# Ends this process, that of slot $1, with exit code $2. Tells the code, in case bash loses it. (A
# command that ends this process itself, by exit or exec, tells nothing.)
_leave() {
  builtin printf 'ended %s %s\n' "$1" "$2" >&"$_bell"
  builtin exit "$2"
}

# As _run_slot, with the command in a process below this one. This process runs the check, and
# reports the exit code.
_run_below() {
  local _exit _question='' _before='' _fault='' _log_errors
  [[ ! $_check ]] || _before=$(_ask_check before) # while a signal still ends this process
  trap : HUP INT TERM # they are for the processes below
  exec {_log_errors}>&2 2>/dev/null # if a signal ends it, bash would print the lines below
  (
    exec 2>&"$_log_errors" {_log_errors}>&-
    trap 'exit 143' TERM
    trap : USR1 USR2
    run_slice {_out}>&- {_report}>&- {_bell}>&-
    builtin exit
  )
  _exit=$?
  exec 2>&"$_log_errors" {_log_errors}>&-
  if [[ $_check ]] && ((_exit == 0)); then
    (
      trap '' USR1 USR2 # they were for the command
      check_slice {_out}>&- {_report}>&- {_bell}>&-
      builtin exit
    )
    _exit=$?
    ((_exit == 0)) || _fault=$(_ask_check fault)
    ((_exit == 0)) || _progress check "slot=$1 exit=$_exit${_fault:+ file=$_fault}"
  fi
  [[ ! $_trapped ]] || echo "$_exit" >&"$_report"
  _leave "$1" "$_exit"
}

# For check_slice: fails unless each file exists, is not empty and has changed since the start of the
# slice. Times are not compared: the clocks of nodes and file servers differ. Instead _before holds
# the files that were there at the start; one that is still the same is of an earlier attempt.
# shellcheck disable=SC2329 # script.sh calls it
_check_file() {
  local _file _wrong=''
  [[ $_question != before ]] || {
    for _file; do _identify_file "$_file"; done
    builtin exit
  }
  for _file; do
    if [[ ! -e $_file ]]; then
      _wrong='missing is missing'
    elif [[ ! -f $_file ]]; then
      _wrong='nofile is not a file'
    elif [[ ! -s $_file ]]; then
      _wrong='empty is empty'
    elif [[ $_before && $'\n'$_before$'\n' == *$'\n'"$(_identify_file "$_file")"$'\n'* ]]; then
      _wrong='earlier is of an earlier attempt'
    else
      continue
    fi
    break
  done
  if [[ ! $_question ]]; then
    [[ ! $_wrong ]] || builtin printf 'slurmslice: %s %s\n' "$_file" "${_wrong#* }" >&2
    [[ ! $_wrong ]]
    return
  fi
  [[ $_wrong ]] || builtin exit
  _file=${_file:0:1000} _file=${_file//%/%25} _file=${_file// /%20}
  builtin printf '%s:%s' "${_wrong%% *}" "${_file//[[:cntrl:]]/?}"
  builtin exit
}

# Asks _check_file a question: "before", the files that are there, or "fault", the first one that is
# wrong and how. It is only asked if it is the first command of check_slice, so nothing else runs.
_ask_check() {
  local _text
  _question=$1
  _text=$(declare -f check_slice)
  [[ ! $_text =~ ^check_slice\ \(\)[[:space:]]+\{[[:space:]]+_check_file[[:space:]] ]] ||
    check_slice </dev/null 2>/dev/null
  builtin exit # nothing behind _check_file
}

# Prints device, inode, size and times of file $1, and of the link if it is one. It is opened first,
# so that NFS asks its server.
# shellcheck disable=SC2329 # _check_file calls it
_identify_file() {
  local _form='%d:%i:%s:%.9Y:%.9Z'
  [[ -f $1 ]] && { : <"$1"; } 2>/dev/null
  [[ ! -f $1 ]] ||
    builtin printf '%s %s\n' "$(command stat -c "$_form" -- "$1")" "$(command stat -Lc "$_form" -- "$1")"
}

# ---- Logs of slices that have ended: an empty or small one costs no file

# Makes the section of _log for a file that several slices share: a line with the length of the text,
# the text, and a closing line. The slice in slot $1 exited $2; a word instead says why it is not done.
# $4 has more fields. Fails if the log stays: it has more than $3 bytes, or a NUL, which bash cannot
# hold.
_make_section() {
  local _text='' _bytes=0 _fields=${4:-}
  [[ -f $_log && ! -L $_log ]] || return
  if [[ ! -s $_log ]]; then
    :
  elif [[ $_keep_logs == failed && $2 == 0 ]]; then
    _fields+=' dropped=1'
  else
    _read_small_log "$3" || return
  fi
  builtin printf -v _section 'slurmslice log job=%s restart=%s at=%(%s)T host=%s %s\n' \
    "$_job" "$_restart" -1 "$_host" "slot=$1 bytes=$_bytes name=${_log#"$_submission/logs/"}$_fields"
  [[ ! $_text || ${_text: -1} == $'\n' ]] || _text+=$'\n'
  [[ ! $_text ]] || _section+="$_text""slurmslice log-end bytes=$_bytes"$'\n'
}

# Sets _text to the text of _log, and _bytes to its length. Fails if that is more than $1 bytes.
_read_small_log() {
  local LC_ALL=C
  IFS= read -r -N "$(($1 + 1))" _text <"$_log" && return 1 # it may have more
  IFS= read -r -d '' _text <"$_log" && return 1            # a NUL ended it
  _bytes=${#_text}
  ((_bytes))
} 2>/dev/null

# Notes _log, of which the section is written, for removal: one rm for many files. It is not emptied,
# because the slice may have linked it to a file of its own.
_discard_log() {
  _unneeded+=("$_log")
  ((${#_unneeded[@]} < 100)) || _remove_logs
}

_remove_logs() {
  ((${#_unneeded[@]} == 0)) || command rm -f -- "${_unneeded[@]}"
  _unneeded=() _cpu=''
}

# ---- Packs: the child is the dispatcher of several slices

# Reads what earlier starts of this task wrote. A slice that ended by itself, or at its own time
# limit, has ended for good. One that was ended from outside (by HUP, INT, KILL or TERM, or with any
# exit code after it was told to end) runs again, unless a person has cancelled it.
_keep_ended() {
  local _said _slot _host _late=() _lost=() _missed=() _hosts=() _measured=()
  local _pattern="slurmslice (start|timeout|cancel|memory|check|end) job=$_job restart=[0-9]+ at=[0-9]+"
  _pattern+=' host=([^ ]+) slot=([0-9]+)( (exit|of)=([0-9]+))?( told=[A-Z]+)?'
  _pattern+='(( us=[0-9]+)?( cpu_us=[0-9]+)?( mem=[0-9]+ samples=[0-9]+)?)( |$)'
  while IFS= read -r _said; do
    [[ $_said =~ $_pattern ]] || continue
    _slot=${BASH_REMATCH[3]} _hosts[BASH_REMATCH[3]]=${BASH_REMATCH[2]}
    case ${BASH_REMATCH[1]}${BASH_REMATCH[6]}${_late[_slot]:-}${BASH_REMATCH[7]:+told} in
      start*) unset "_late[$_slot]" "_lost[$_slot]" "_missed[$_slot]" ;;
      timeout*) _late[_slot]=${_late[_slot]:-timeout} ;;
      cancel*) _late[_slot]=cancel ;;
      memory*) _lost[_slot]=${BASH_REMATCH[6]} ;;
      check*) _missed[_slot]=${_said##* slot="$_slot" } ;;
      end129 | end130 | end137 | end143 | end*[0-9]told) ;;
      *) _kept[_slot]=${BASH_REMATCH[6]} _measured[_slot]=${BASH_REMATCH[8]} ;;
    esac
  done <"$_submission/tasks/$_index.log"
  for _slot in "${!_late[@]}"; do # a cancelled slice that has no end does not begin again
    [[ ${_kept[_slot]:-} || ${_late[_slot]} != cancel ]] || _progress cancel "slot=$_slot"
  done
  for _slot in "${!_kept[@]}"; do
    _host=${_hosts[_slot]} # the node on which the slice ran
    [[ ! ${_late[_slot]:-} ]] || _progress "${_late[_slot]}" "slot=$_slot"
    [[ ! ${_lost[_slot]:-} ]] || _progress memory "slot=$_slot of=${_lost[_slot]}"
    [[ ! ${_missed[_slot]:-} ]] || _progress check "slot=$_slot ${_missed[_slot]}"
    _progress end "slot=$_slot exit=${_kept[_slot]}${_measured[_slot]} kept=1"
    ((_kept[_slot])) || [[ ${_late[_slot]:-} == cancel ]] || ((_ok += 1))
  done
}

_dispatch() {
  local _slot _signal
  _running=() _lost=() _since=() _spent=() _silent=() _stopping='' _partial='' _cpu=''
  _cancelled=() _next=0 _asked=''
  _trapped='' # a trap on EXIT is the dispatcher's, and the slices are processes of their own
  _share_variables
  trap '_signal_slices USR1' USR1
  trap '_signal_slices USR2' USR2
  trap '_signalled=yes _asked=yes' URG # a process that a trap starts may cost bash an exit code
  for _signal in HUP INT TERM; do
    # shellcheck disable=SC2064 # $_signal as it is now
    trap "_stop_slices $_signal" "$_signal"
  done
  _find_control_group
  _start_watchdog "$_usage${_slice_time#0}"
  exec {_bell}<> <(:)
  for _slot in "${!_line[@]}"; do
    [[ ! ${_kept[_slot]:-} ]] || continue
    while ((${#_running[@]} >= _at_once)); do _await_slice; done
    [[ ! $_stopping ]] || break
    [[ ! -e $_submission/cancelled/$_index ]] || _end_cancelled
    _next=$((_slot + 1))
    [[ ! ${_cancelled[_slot]:-} ]] || continue
    # A slice without this line counts as not begun: so it is not run if the disk is full.
    _progress start "slot=$_slot format=1" || break
    _start_slice "$_slot"
    ((_at_once > 1)) || _finish_slice "$_slot" 255
  done
  while ((${#_running[@]})); do _await_slice; done
  _remove_logs
  _exit=$((_ok < ${#_line[@]}))
  echo "$_exit" >&"$_report"
  exit "$_exit"
}

_signal_slices() {
  local _group
  _signalled=yes
  for _group in "${_running[@]}"; do kill -s "$1" -- "-$_group" 2>/dev/null; done
}

# Tells the slices that run to end by signal $1; no further slice starts. Slurm may signal this
# process as well as the supervisor: the slices get each signal once from here.
# shellcheck disable=SC2329 # a trap calls it
_stop_slices() {
  _signalled=yes
  [[ $_stopping != "$1" ]] || return
  _stopping=$1
  _signal_slices "$1"
}

# "slurmslice cancel" has sent URG, which does nothing to any other process. A node may know a folder
# of a file server as it was a minute ago, unless it opens the folder.
_look_for_cancelled() {
  _asked=''
  command ls "$_submission" >/dev/null 2>&1
  _end_cancelled
}

# Ends the slices of this task that a person has cancelled; the others go on. A file has their slots.
# One that has not begun will not begin. One that ended before is not affected.
_end_cancelled() {
  local _slot _slots=()
  mapfile -t _slots <"$_submission/cancelled/$_index"
  for _slot in "${_slots[@]}"; do
    [[ $_slot =~ ^(0|[1-9][0-9]{0,8})$ && ${_line[_slot]:-} ]] || continue
    [[ ! ${_kept[_slot]:-}${_cancelled[_slot]:-} ]] || continue
    if [[ ${_running[_slot]:-} ]]; then
      kill -0 "${_running[_slot]}" || continue # it has just ended by itself
      _cancelled[_slot]=yes
      _progress cancel "slot=$_slot"
      kill -s TERM -- "-${_running[_slot]}"
      (_kill_late "${_running[_slot]}") {_watch}>&- {_answers}>&- &
    elif ((_slot >= _next)); then
      _cancelled[_slot]=yes
      _progress cancel "slot=$_slot"
    fi
  done
} 2>/dev/null

# Kills group $1 after the grace.
_kill_late() {
  local _left=$_grace
  while ((_left-- > 0)); do
    command sleep 1
    kill -0 -- "-$1" || return
  done
  kill -s KILL -- "-$1"
}

# Starts slot $1 as a process group of its own. If several run at a time, the slice has a wrapper in
# its group, which rings through a pipe when the slice has ended: bash 4.2 has no "wait -n".
_start_slice() {
  _count_kills
  unset "_lost[$1]" "_silent[$1]"
  _read_clock
  _since[$1]=$_now
  [[ $_cpu ]] || ((_at_once > 1)) || _read_cpu
  _spent[$1]=$_cpu
  ((_at_once == 1)) || _choose_seat "$1"
  set -m
  if ((_at_once == 1)); then
    (_begin_slice "$1") {_watch}>&- {_answers}>&- &
  else
    (
      trap : HUP INT TERM USR1 USR2 # they are for the slice
      (
        # shellcheck disable=SC2329 # _run_slot calls it
        _leave() { builtin exit "$2"; } # the wrapper tells the code
        _begin_slice "$1"
      ) {_bell}>&-
      # shellcheck disable=SC2030 # the wrapper exits with it
      _exit=$?
      _read_cpu
      echo "ended $1 $_exit $_cpu" >&"$_bell"
      exit "$_exit"
    ) {_watch}>&- {_answers}>&- &
  fi
  _running[$1]=$!
  set +m
  echo "$1 $!" >&"$_watch"
  [[ ! $_stopping ]] || _signal_slices "$_stopping" # it came before the slice was known
}

_begin_slice() {
  _take_slice "$1"
  exec </dev/null
  _open_output "$1" || exit
  _run_slot "$1"
}

# Waits until a slice has ended. It looks every second, because a wrapper that was killed does not
# ring, and because an older bash handles no signal while it reads.
_await_slice() {
  local _slot='' _part=''
  [[ ! $_asked ]] || _look_for_cancelled
  if IFS= read -r -t 1 -u "$_bell" _part; then
    [[ ! "$_partial$_part" =~ ^ended\ ([0-9]+)\ ([0-9]+)\ (.*)$ ]] || _slot=${BASH_REMATCH[1]}
    _partial=''
    [[ ! $_slot || ! ${_running[_slot]:-} ]] || _finish_slice "$_slot" "${BASH_REMATCH[2]}" "${BASH_REMATCH[3]}"
    return
  fi
  _partial+=$_part
  for _slot in "${!_running[@]}"; do
    kill -0 -- "-${_running[_slot]}" 2>/dev/null && continue
    # If its wrapper rang at this moment, the next read finds that.
    [[ ! ${_silent[_slot]:-} ]] || _finish_slice "$_slot" 255 ''
    _silent[_slot]=yes
  done
}

# Records the end of slot $1. If bash has lost its exit code, that is $2, or what the slice itself has
# told. Its CPU time is $3; if that is missing, it is that of the children that have ended since its
# start.
_finish_slice() {
  local _figures _told _said _code=$2
  _await_child "${_running[$1]}" _look_for_cancelled
  if ((_at_once == 1)); then
    while read -r -t 0 -u "$_bell" && read -r -u "$_bell" _said; do _code=${_said##* }; done
  fi
  # shellcheck disable=SC2031 # _await_child has set it
  ((_exit >= 0)) || _exit=$_code
  (($# > 2)) || _read_cpu
  _measure "${_since[$1]}" "${3-${_cpu:+$((_cpu - _spent[$1]))}}"
  _end_group "${_running[$1]}" "$_exit"
  _count_kills
  unset "_running[$1]"
  _end_watch "$1" "$((_now - _since[$1]))"
  # A signal from outside reaches each process of the task. It may be on its way here: then no other
  # slice begins.
  case $_stopping${_cancelled[$1]:-}$_exit in 129 | 130 | 143) command sleep 0.3 ;; esac
  [[ ! ${_lost[$1]:-} ]] || _progress_surely memory "slot=$1 of=${_lost[$1]}"
  _told=${_stopping:-${_cancelled[$1]:+TERM}}
  _progress_surely end "slot=$1 exit=$_exit${_told:+ told=$_told}$_figures" &&
    _share_log "$1" "$((_now - _since[$1]))"
  ((_exit)) || [[ ${_cancelled[$1]:-} ]] || ((_ok += 1))
}

# Moves the log of slot $1, which took $2 microseconds, to the file that the slices of this task share.
_share_log() {
  local _file=$_submission/tasks/$_index.logs _how=${_told:-${_lost[$1]:+memory}} _limit=65536
  (($2 < 60000000)) || _limit=0
  ((!_slice_time || $2 < _slice_time * 1000000)) || _how=timeout
  _find_log "$1"
  _make_section "$1" "${_how:-$_exit}" "$_limit" || return
  [[ ! -L $_file && (-f $_file || ! -e $_file) ]] || return # a slice may have put something there
  trap '' XFSZ # at the limit of a file's size (ulimit -f) the log stays
  builtin printf %s "$_section" >>"$_file" && _discard_log
  trap - XFSZ
} 2>/dev/null

# Ends what the slice of group $1 has left running, as Slurm does at the end of a script. If a signal
# ended the slice (exit code $2), its processes have the grace to save their work.
_end_group() {
  local _left=0
  case $2 in 129 | 130 | 143) _left=$((_grace * 5)) ;; esac
  while kill -0 -- "-$1" && ((_left-- > 0)); do
    command sleep 0.2
    _cpu=''
  done
  kill -s KILL -- "-$1"
} 2>/dev/null

# Writes a line that must not be lost, because the slice would run again: waits for a full disk.
_progress_surely() {
  local _try=0
  while ((_try++ < 120)); do # a list of 120 words would cost more than the line
    _progress "$@" && return
    command sleep 5
    echo x >&"$_out" # half of the line may have been written: this makes it unreadable
  done 2>/dev/null
}

# ---- The watchdog: a process beside the slices, which ends those that take too long, and measures memory

# Starts the watchdog, unless $1 is empty: then there is nothing to watch.
_start_watchdog() {
  trap : PIPE # in case it is killed
  if [[ $1 ]]; then
    exec {_answers}<> <(:)
    exec {_watch}> >(_watch_slices)
  else
    exec {_watch}>/dev/null {_answers}</dev/null
  fi
}

# Tells the watchdog that slot $1 has ended after $2 microseconds. Adds the peak of its memory to
# _figures, if it was measured three times or more.
_end_watch() {
  local _answer=''
  if [[ ! $_usage ]] || (($2 < 300000)); then
    echo "$1 0" >&"$_watch"
    return
  fi
  echo "$1 ask" >&"$_watch"
  while IFS= read -r -t 2 -u "$_answers" _answer && [[ $_answer != "$1 "* ]]; do :; done
  [[ $_answer ]] || _usage='' # it was killed
  [[ ! $_answer =~ ^"$1 "([0-9]+)\ ([0-9]+)$ ]] || ((BASH_REMATCH[1] < 3)) ||
    _figures+=" mem=${BASH_REMATCH[2]} samples=${BASH_REMATCH[1]}"
} 2>/dev/null

# The watchdog itself. It reads "SLOT GROUP" when a slice starts, and "SLOT 0" when it has ended, or
# "SLOT ask": then it answers "SLOT SAMPLES BYTES". It ends with its input. A slot is never signalled
# after its end was read, so the number of its group may be used again.
_watch_slices() {
  local _group=() _due=() _warned=() _since=() _peak=() _samples=() _clock=0 _next=0 _text='' _part _read
  local _before _wait
  trap - EXIT
  trap '' HUP INT TERM USR1 USR2 # they are for the slices
  set +f                         # prepare may have set these
  builtin shopt -u failglob nullglob
  printf -v _before '%(%s)T' -1
  while :; do
    _choose_wait
    IFS= read -r -t "$_wait" _part # at the time-out it has the beginning of a line
    _read=$?
    _text+=$_part
    ((_read == 0 || _read > 128)) || return
    _read_clock
    [[ ! $_usage ]] || ((_next - 5000000 < _now && _now < _next)) || _sample_memory
    ((!_slice_time)) || _count_seconds
    ((_read)) || _hear_of "${_text% *}" "${_text#* }"
    ((!_slice_time)) || _look_for_late
  done
}

# Sets _wait to the seconds until there is something to do.
_choose_wait() {
  local _longest=5000000
  ((!_slice_time)) || _longest=1000000
  [[ ! $_usage ]] || ((_next - _now > _longest)) || ((_longest = _next > _now ? _next - _now : 1))
  printf -v _wait '%d.%06d' "$((_longest / 1000000))" "$((_longest % 1000000))"
}

# Handles a line about slot $1: its group, or its end.
_hear_of() {
  _text=''
  if [[ $2 == ask || $2 == 0 ]]; then
    [[ $2 == 0 ]] || echo "$1 ${_samples[$1]:-0} $((${_peak[$1]:-0} / _at_once))" >&"$_answers"
    unset "_group[$1]" "_due[$1]" "_warned[$1]" "_since[$1]" "_samples[$1]" "_peak[$1]"
    return
  fi
  _group[$1]=$2 _due[$1]=$((_clock + _slice_time + 1)) _since[$1]=$_now
  ((_next = _now + 50000))
}

# Counts a second that has passed, or less. If more, the task was suspended or the clock was set.
_count_seconds() {
  local _second _step
  printf -v _second '%(%s)T' -1
  ((_step = _second - _before, _before = _second, _clock += _step < 0 || _step > 2 ? 1 : _step))
}

_look_for_late() {
  local _slot
  for _slot in "${!_due[@]}"; do
    ((_clock < _due[_slot])) || _end_late "$_slot"
  done
}

# Ends slot $1, whose time is over: SIGTERM first, SIGKILL after the grace.
_end_late() {
  if [[ ${_warned[$1]:-} ]]; then
    kill -s KILL -- "-${_group[$1]}"
  elif kill -0 -- "-${_group[$1]}"; then
    _progress timeout "slot=$1"
    kill -s TERM -- "-${_group[$1]}"
  fi 2>/dev/null
  _warned[$1]=yes _due[$1]=$((_clock + _grace))
}

# Measures the memory of the job on this node: anonymous and shared memory, without the file cache. The next time
# is when the youngest slice has run a twentieth longer, after 0.05 s to 2 s.
_sample_memory() {
  local IFS='' _slot _file _text _bytes=0 _youngest=0 _anonymous=$'(^|\n)(anon|rss) ([0-9]+)'
  local _shared=$'\nshmem ([0-9]+)'
  for _file in $_usage; do # a pattern
    _text=''
    read -r -d '' _text <"$_file"
    [[ ! $_text =~ $_anonymous ]] || ((_bytes += BASH_REMATCH[3]))
    [[ ! $_text =~ $_shared ]] || ((_bytes += BASH_REMATCH[1]))
  done
  for _slot in "${!_since[@]}"; do
    ((_samples[_slot] += 1, _peak[_slot] >= _bytes || (_peak[_slot] = _bytes)))
    ((_since[_slot] <= _youngest)) || _youngest=${_since[_slot]}
  done
  ((_next = (_now - _youngest) / 20, _next = _next < 50000 ? 50000 : _next > 2000000 ? 2000000 : _next))
  ((_next += _now))
} 2>/dev/null

# ---- The control group of the job, cgroups(7), v2 or v1, if it is this job's alone

# Sets _memory to the file in which the kernel counts the processes that it killed for want of
# memory, and _usage to a pattern for the files with the memory in use: one for each task of a job
# step. The file of the whole job may be out of date for two seconds (seen on Linux 6.18).
_find_control_group() {
  local _kind _group _file
  _memory=/dev/null _usage='' _killed=0
  while IFS=: read -r _ _kind _group; do
    [[ $_group =~ /(job_$_job_id|slurmslice-[^/]+)/ ]] || continue
    for _file in "/sys/fs/cgroup/$_kind$_group"/memory.{events,oom_control}; do
      [[ ! -r $_file ]] || _memory=$_file
    done
    _file=/sys/fs/cgroup/$_kind$_group
    [[ -r $_file/memory.stat ]] || continue
    [[ ! $_file =~ ^(.*/job_[0-9]+/step_)[^/]+(/.*|)/task_[^/]+$ ]] ||
      _file="${BASH_REMATCH[1]}*${BASH_REMATCH[2]}/task_*"
    _usage=$_file/memory.stat
  done 2>/dev/null </proc/self/cgroup
}

# If the kernel has killed a process since the last look, each slice that runs notes how many run:
# if several do, it is not known whose process it was.
_count_kills() {
  local _slot _text
  [[ $_memory != /dev/null ]] || return
  IFS= read -r -d '' _text <"$_memory"
  [[ $_text =~ oom_kill\ ([0-9]+) ]] && ((BASH_REMATCH[1] > _killed)) || return
  _killed=${BASH_REMATCH[1]}
  for _slot in "${!_running[@]}"; do
    ((${_lost[_slot]:-0} == 1)) || _lost[_slot]=${#_running[@]}
  done
}

_main "$@"
