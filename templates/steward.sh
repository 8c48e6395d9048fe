#!/bin/bash
# The steward of a run: a job that does one round of what `slurmslice run` does, puts itself back under
# the same job id, and waits until Slurm wakes it. This text is the same in every round and every run.
#
#   sbatch OPTIONS steward.sh RUN TOKEN PYTHON SECONDS
#
# RUN      the run directory
# TOKEN    the name of this steward in the journal of the run
# PYTHON   the Python that has slurmslice
# SECONDS  the time for one round; the time limit of the job is longer
#
# A round writes one line to RUN/steward/next: "end", or "wait" and what to wait for, in scontrol's
# words. Only these forms are accepted, and nothing of them is evaluated. RUN/steward/trouble has a
# line for each round in vain since the last good one: when the next one begins, and the reason.

run=$1 token=$2 python=$3 round_s=${4:-540} job=$SLURM_JOB_ID
pause_s=600     # the pause if a round could not say what to wait for
again_s=5       # seconds between two tries to put this job back: its time limit is near
next=$run/steward/next
trouble=$run/steward/trouble
form='^wait( StartTime=now\+[0-9]+)?( Dependency=[a-z0-9_:+?]+)?( ExcNodeList=[][A-Za-z0-9_.,-]*)?$'

say() {
  printf '%(%Y-%m-%d %H:%M:%S)T %s\n' -1 "$*"
}

# Variables of this job would be those of the jobs that it submits.
forget_this_job() {
  local name
  for name in $(compgen -e); do
    case $name in
      SLURM_CONF | SLURM_CLUSTERS) ;;
      SLURM_* | SBATCH_* | SRUN_*) unset "$name" ;;
    esac
  done
}

slurmslice() {
  timeout --kill-after=10 "$round_s" "$python" -m slurmslice "$@"
}

# Does one round, and reads what to wait for into the array wake. Does not return at the end of the run.
do_round() {
  local line=
  rm -f "$next"
  if slurmslice steward "$run" "$token" "$job"; then
    rm -f "$trouble"
  else
    say_why "$?"
  fi
  [[ ! -e $next ]] || IFS= read -r line <"$next"
  [[ $line != end ]] || exit 0
  wake=("StartTime=now+$pause_s")
  [[ $line = wait\ * && $line =~ $form ]] || return 0
  line=${line#wait }
  IFS=' ' read -r -a wake <<<"$line"
}

say_why() {
  local why="The last round on ${HOSTNAME:-this node} ended early (exit $1)."
  [[ $1 != 124 ]] || why="The last round on ${HOSTNAME:-this node} did not end within $round_s s."
  if [[ ! -d $run ]]; then
    say "There is no $run any more, so the steward ends."
    exit 0
  elif ! timeout --kill-after=5 "$((round_s / 9 + 1))" "$python" -c 'import slurmslice'; then
    why="Python or slurmslice cannot be started on ${HOSTNAME:-this node}: $python -m slurmslice."
  fi
  say "$why"
  lengthen_pause "$why"
}

# Pauses for 2, 4, 8 … 60 minutes after rounds in vain, and tells `slurmslice status` why.
lengthen_pause() {
  local vain=() now
  [[ ! -e $trouble ]] || mapfile -t vain <"$trouble"
  pause_s=$((120 << (${#vain[@]} < 5 ? ${#vain[@]} : 5)))
  pause_s=$((pause_s < 3600 ? pause_s : 3600))
  printf -v now '%(%s)T' -1
  printf '%s %s\n' "$((now + pause_s))" "$1" >>"$trouble"
}

# Tells Slurm what this job waits for, and the nodes that it avoids. If Slurm refuses that, tries less.
wait_for_wake() {
  scontrol update JobId="$job" "${wake[@]}" && return
  if [[ ${wake[*]} = *" ExcNodeList="* ]]; then
    wake=("${wake[@]:0:${#wake[@]}-1}")
    scontrol update JobId="$job" "${wake[@]}" && return
  fi
  scontrol update JobId="$job" StartTime="now+$pause_s"
}

# A requeue revives a job that a person cancelled a moment before (seen on 22.05). Slurm keeps no
# trace of that, but its own line in the log tells it: "CANCELLED AT … DUE TO" has another cause.
was_cancelled() {
  local last=
  last=$(tail -n 1 "$run/steward/log" 2>/dev/null)
  [[ $last =~ JOB\ $job\ ON\ .*\ CANCELLED\ AT\ [^\ ]+\ (DUE\ TO\ SIGNAL\ .*)?\*\*\*$ ]]
}

# Tells a refusal from a controller that is away: scontrol has many words for that ("Unexpected
# message received" on 22.05).
controller_answers() {
  squeue --noheader --jobs="$job" >/dev/null 2>&1
}

# Puts this job back. The requeue ends this script, so TERM is ignored until the update is made. A
# controller that is away is asked again. Any other refusal is one of the site: another job follows.
put_back() {
  local said refusals=0
  while ((refusals < 3)); do
    trap '' TERM
    if said=$(scontrol requeue "$job" 2>&1); then
      if was_cancelled; then
        scancel "$job"
      else
        wait_for_wake
      fi
      exit 0
    fi
    trap - TERM
    say "This job could not be put back: $said"
    [[ $said != *disabled* ]] || break
    ! controller_answers || ((refusals += 1))
    sleep "$again_s"
  done
  say "Another job is submitted instead, and goes on."
  refusals=0
  while ((refusals < 5)); do
    ! slurmslice steward "$run" "$token" "$job" --chain || exit 0
    ! controller_answers || ((refusals += 1))
    sleep "$((6 * again_s))"
  done
  say "Nobody follows the run any more. To go on: slurmslice run $run --unattended"
  say "If this site allows no such job: slurmslice run $run --unattended --unattended-by cron"
  exit 1
}

say "Round ${SLURM_RESTART_COUNT:-0} of job $job on ${HOSTNAME:-this node}"
forget_this_job
do_round
put_back
