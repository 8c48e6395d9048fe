"""The engine that joins them: Slurm's commands, their environment, and their answers."""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from slurmslice import process
from slurmslice.engines import Identity, Intake, Limits, Needs, Order, Receipt, Sighting
from slurmslice.engines.slurm import (
    answers,
    capacity,
    commands,
    environment,
    never,
    resources,
    search,
    steps,
)
from slurmslice.engines.slurm.health import Health, health
from slurmslice.engines.slurm.outcomes import outcome
from slurmslice.engines.slurm.versions import Release, release_of
from slurmslice.errors import BadInput, EngineError, NoAnswer, Refused
from slurmslice.evidence import Answer, Observation, TaskId, TaskReport

SUBMIT_TIMEOUT_S = 180.0
"""sbatch itself tries a full queue again for 120 s: less than 150 s would cut it short."""
ASK_TIMEOUT_S = 120.0
_SUBMIT_TIMEOUT = ("SLURMSLICE_SBATCH_TIMEOUT", SUBMIT_TIMEOUT_S)
_OFF = "accounting storage is disabled"
_UNKNOWN_JOB = "Invalid job id specified"
_GONE = (_UNKNOWN_JOB, "already complet", "already finished")


class SlurmEngine:
    """Runs array tasks on Slurm, by its own commands.

    Args:
        environ: the caller's environment; the process' own where not given.
            ``SLURMSLICE_SBATCH_TIMEOUT`` and ``SLURMSLICE_ASK_TIMEOUT`` in it set how long
            (seconds) sbatch and the others may take.
    """

    name = "slurm"

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = dict(os.environ if environ is None else environ)
        self._settings: dict[str, str] = {}
        self._accounting_off = False
        self._own_texts: tuple[str, str] | None = None

    def cluster(self) -> str:
        """The cluster's name.

        Raises:
            NoAnswer: the controller does not answer.
        """
        return self._config().get("ClusterName", "")

    def submit(self, order: Order) -> Receipt:
        """Hand the script to sbatch. As ``Engine.submit``."""
        argv = commands.sbatch(order.script, order.overrides, order.arguments)
        options = [name for name, _ in (*order.needs.options, *order.overrides)]
        env, dropped = environment.for_sbatch(self._environ, options)
        timeout = self._seconds(*_SUBMIT_TIMEOUT)
        receipt = outcome(process.run(argv, timeout=timeout, env=env))
        notes = (*environment.told(dropped), *receipt.notes)
        return Receipt(receipt.job, receipt.cluster, notes)

    def test(self, order: Order) -> str:
        """Ask sbatch. As ``Engine.test``."""
        argv = commands.test(commands.sbatch(order.script, order.overrides, order.arguments))
        options = [name for name, _ in (*order.needs.options, *order.overrides)]
        env, _ = environment.for_sbatch(self._environ, options)
        done = process.run(argv, timeout=self._seconds(*_SUBMIT_TIMEOUT), env=env)
        if done.returncode == 0:
            return (done.stderr.strip() or done.stdout.strip()).removeprefix("sbatch: ")
        if done.returncode is None:
            raise _silence(done)
        raise Refused(f"Slurm would refuse it: {done.stderr.strip()[-2000:]}")

    def identify(self, job: str) -> Identity:
        """Ask the controller. As ``Engine.identify``."""
        try:
            records = self._ask(commands.show_job(job))
            rows = answers.queue_rows(self._ask(commands.squeue((job,), ended=True)))
        except NoAnswer as why:
            if _UNKNOWN_JOB in why.message:
                raise BadInput(f"The controller knows no job {job}.") from why
            raise
        script = self._run(commands.batch_script(job))
        text = script.stdout if script.returncode == 0 else None
        return search.identity(records, text, [row for row in rows if row.job == job])

    def find(self, order_token: str, job_name: str, since: float) -> Sighting | None:
        """The job that bears a token. As ``Engine.find``.

        Where accounting does not answer, the queue's word that there is none counts as long as
        the controller remembers jobs that have ended (MinJobAge).
        """
        now = time.time()
        queue = answers.queue_rows(self._ask(commands.squeue_of(os.getuid(), ended=True)))
        remembers = search.seconds(self._config().get("MinJobAge", ""))
        # Half of it: the times in the queue are another machine's.
        found = search.in_queue(queue, order_token, now - remembers / 2)
        if found or self._accounting_off:
            return found
        try:
            text = self._ask(commands.sacct_by_name(job_name, os.getuid(), since, self._clusters))
        except NoAnswer:
            if self._accounting_off or now - since < remembers / 2:
                return None
            raise
        return search.in_accounting(answers.accounting_rows(text), order_token)

    def observe(self, jobs: Sequence[tuple[str, str]]) -> Observation:
        """One sacct, then one squeue. As ``Engine.observe``."""
        names = dict(jobs)
        if not names:
            return Observation(Answer(), Answer())
        accounting = self._accounting(names)
        return Observation(accounting, self._queue(names, ended=not accounting.answered))

    def measure(
        self, jobs: Sequence[tuple[str, str]], tasks: Iterable[TaskId]
    ) -> dict[TaskId, TaskReport]:
        """Ask sacct for the steps of tasks. As ``Engine.measure``."""
        names = dict(jobs)
        found: dict[TaskId, TaskReport] = {}
        for question in commands.sacct_steps(tasks, self._clusters):
            found |= steps.measures(self._ask(question), names, self._asked_release)
        return found

    def _asked_release(self) -> Release | None:
        return release_of(self._config().get("SLURM_VERSION", ""))

    def cancel(self, job: str, name: str, indices: Collection[int] | None) -> None:
        """Cancel tasks; those that have ended are no error.

        Raises:
            NoAnswer: Slurm could not be told, or not asked whose the id is now.
            EngineError: it will not do it.
        """
        if indices is None or indices:
            self._steer(job, name, commands.scancel(job, indices))

    def throttle(self, job: str, name: str, limit: int | None) -> None:
        """Set how many tasks of an array run at once. An array that is gone is no error.

        Raises:
            NoAnswer: Slurm could not be told, or not asked whose the id is now.
            EngineError: it will not do it.
        """
        self._steer(job, name, commands.throttle(job, limit))

    def hold(self, job: str, name: str) -> None:
        """Hold the tasks of an array that have not started. As ``throttle``."""
        self._steer(job, name, commands.hold(job))

    def release(self, job: str, name: str) -> None:
        """Release them. As ``throttle``."""
        self._steer(job, name, commands.release(job))

    @property
    def working(self) -> bool:
        """Never: Slurm runs the tasks."""
        return False

    def close(self) -> None:
        """Nothing is to be stopped here."""

    def wait(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)

    def limits(self, needs: Needs) -> Limits:
        """MaxArraySize, and how many such tasks can run at once. As ``Engine.limits``."""
        needs, certain = self._in_all(needs)
        most = int(self._config()["MaxArraySize"])
        try:
            everywhere = resources.partitions(self._ask(commands.ALL_PARTITIONS))
            if unknown := capacity.not_listed(needs, everywhere):
                if certain and self._refuses_unknown_partitions():
                    return Limits(most, 0, unknown, never=unknown)
                return Limits(most, None, unknown)
            places = capacity.places(needs, everywhere)
            why_never = capacity.why_never(needs, everywhere)
            at_once, why = (0, why_never) if why_never else self._at_once(needs, places)
            for_good = self._never(needs, places) if certain and at_once == 0 else ""
        except NoAnswer as silence:
            return Limits(most, None, silence.message)
        times = [place.max_time_s for place in places if place.max_time_s is not None]
        usual = {place.default_time_s for place in places}
        default_s = usual.pop() if len(usual) == 1 else None
        return Limits(most, at_once, why, min(times, default=None), default_s, for_good)

    def intake(self, needs: Needs) -> Intake:
        """What the limits leave beside the user's jobs in the queue. As ``Engine.intake``.

        Every job of the user's counts against each limit, whatever its account or quality of
        service: the room is rather told too small than too large.
        """
        (needs, _), settings = self._in_all(needs), self._config()
        size, most = int(settings["MaxArraySize"]), capacity.max_array_tasks(settings)
        limits = list(capacity.submit_limits(*self._own(), needs, settings))
        if not limits:
            return Intake(size, most)
        rows = answers.queue_rows(self._ask(commands.squeue_of(os.getuid(), ended=False)))
        queued = sum(len(row.indices or "1") for row in rows if row.step is None)
        limit, why = min(limits)
        before = f"; taken before: {queued}" if queued else ""
        return Intake(size, most, max(0, limit - queued), why + before)

    def doctor(self, needs: Needs | None = None) -> Health:
        """How the cluster is, and how many tasks of these needs fit into each partition.

        Raises:
            NoAnswer: the controller does not answer.
        """
        needs, settings = needs or Needs(), self._config()
        everything = resources.nodes(self._ask(commands.sinfo()))
        found = resources.partitions(self._ask(commands.PARTITIONS))
        return Health(
            settings.get("SLURM_VERSION", ""),
            self.cluster(),
            int(settings["MaxArraySize"]),
            self._accounting({"1": ""}).silence or "on",
            tuple(health(partition, everything, needs, settings) for partition in found),
        )

    def _in_all(self, needs: Needs) -> tuple[Needs, bool]:
        """The needs with what the environment adds to them, and whether that is all it does."""
        more, others = environment.added(self._environ, [name for name, _ in needs.options])
        partition = needs.partition or dict(more).get("partition")
        return replace(needs, partition=partition, options=(*needs.options, *more)), not others

    def _at_once(
        self, needs: Needs, found: Sequence[resources.Partition]
    ) -> tuple[int | None, str]:
        if capacity.asks_for_gpus(needs):
            return None, "GPUs are not counted"
        names = {partition.name for partition in found}
        own = [n for n in resources.nodes(self._ask(commands.sinfo())) if n.partition in names]
        of_task = capacity.share(needs, self._config(), found[0])
        room = capacity.fit(of_task, own).ever
        if not room and not capacity.all_listed(found, own):
            return None, f"not all nodes of {', '.join(sorted(names))} are listed"
        lack = capacity.why_none_fits(of_task, own)
        why = f"{room} fit into the usable nodes of {', '.join(sorted(names))}"
        by_nodes = room, f"{why}: {lack}" if lack else why
        return min([by_nodes, *self._own_limits(needs, of_task)])

    def _never(self, needs: Needs, found: Sequence[resources.Partition]) -> str:
        """Why no such task can ever run; empty where that is not certain."""
        settings, names = self._config(), {partition.name for partition in found}
        if never.routed(settings) or not names or "reservation" in dict(needs.options):
            return ""  # a reservation has nodes, and perhaps a partition, of its own
        if too_long := capacity.too_long(needs, found):
            return "" if self._lifts_time_limits() else too_long
        own = [n for n in resources.nodes(self._ask(commands.sinfo())) if n.partition in names]
        return never.too_large(needs, settings, own)

    def _refuses_unknown_partitions(self) -> bool:
        """Whether it is certain that sbatch will: no plugin, and no other cluster, may know them.

        Where one of several that are named is unknown, too (seen on 22.05 and 26.05).
        """
        if never.routed(self._config()):
            return False
        try:
            return not never.federated(self._ask(commands.FEDERATION))
        except NoAnswer:
            return False

    def _lifts_time_limits(self) -> bool:
        """Whether a quality of service may; True where that cannot be asked."""
        if self._config().get("AccountingStorageType", "").endswith("none"):
            return False  # there is none
        try:
            return never.lifts_time_limits(self._ask(commands.qos_flags()))
        except NoAnswer:
            return True

    def _own_limits(self, needs: Needs, of_task: capacity.Share) -> list[tuple[int, str]]:
        """What the user's limits let run at once; nothing where they cannot be asked."""
        return list(capacity.running_limits(*self._own(), needs, of_task))

    def _own(self) -> tuple[str, str]:
        """The user's associations and the qualities of service, asked once, both at a time.

        Empty where their limits are not enforced, or cannot be asked.
        """
        if self._own_texts is None:
            if not capacity.enforces_limits(self._config()):
                return "", ""
            try:
                user = pwd.getpwuid(os.getuid()).pw_name
                with ThreadPoolExecutor() as both:  # slurmdbd takes 0.3 s to answer anything
                    questions = commands.associations(user), commands.qos()
                    own, qualities = both.map(self._ask, questions)
            except (KeyError, NoAnswer):
                return "", ""
            self._own_texts = own, qualities
        return self._own_texts

    # -- asking ------------------------------------------------------------------------------

    @property
    def _clusters(self) -> str | None:
        return self._environ.get("SLURM_CLUSTERS")

    def _config(self) -> dict[str, str]:
        if not self._settings:
            self._settings = resources.config(self._ask(commands.CONFIG))
        return self._settings

    def _accounting(self, names: Mapping[str, str]) -> Answer:
        if self._accounting_off:
            return Answer(silence=_OFF, off=True)
        argv = commands.sacct(names, self._clusters)
        # Not asked for: a question a poll is dear, and the answers can be read without.
        release = release_of(self._settings.get("SLURM_VERSION", ""))
        answer = self._answer(argv, lambda text: answers.accounting(text, names, release))
        return Answer(silence=_OFF, off=True) if self._accounting_off else answer

    def _queue(self, names: Mapping[str, str], *, ended: bool) -> Answer:
        argv = commands.squeue(names, ended=ended)
        return self._answer(argv, lambda text: answers.queue(text, names))

    def _answer(
        self, argv: commands.Argv, parse: Callable[[str], Mapping[TaskId, TaskReport]]
    ) -> Answer:
        try:
            return Answer(parse(self._ask(argv)))
        except NoAnswer as silence:
            return Answer(silence=silence.message)

    def _ask(self, argv: commands.Argv) -> str:
        """What a command answers.

        Raises:
            NoAnswer: it failed, took too long, or is not there.
        """
        done = self._run(argv)
        if done.returncode == 0:
            return done.stdout
        said = done.stderr.strip() or done.stdout.strip()
        if argv[0] == "sacct" and _OFF in said:
            self._accounting_off = True
        if argv[0] == "squeue" and _asked_for_one(argv) and _UNKNOWN_JOB in said:
            return ""  # the controller has forgotten it
        raise _silence(done)

    def _steer(self, job: str, name: str, argv: commands.Argv) -> None:
        """Tell an array something, unless the queue has its id under another name only."""
        rows = answers.queue_rows(self._ask(commands.squeue((job,), ended=False)))
        names = {row.name for row in rows if row.job == job}
        if not names or any(answers.is_same_name(name, theirs) for theirs in names):
            self._tell(argv)

    def _tell(self, argv: commands.Argv) -> None:
        done = self._run(argv)
        words = done.stderr + done.stdout
        if done.returncode == 0 or any(gone in words for gone in _GONE):
            return
        if done.returncode is None or "Unable to contact" in words or "timed out" in words:
            raise _silence(done)
        raise EngineError(f"{argv[0]} says: {words.strip()[-1000:]}")

    def _run(self, argv: commands.Argv) -> process.Finished:
        timeout = self._seconds("SLURMSLICE_ASK_TIMEOUT", ASK_TIMEOUT_S)
        env = environment.for_questions(self._environ)
        return process.run(argv, timeout=timeout, env=env)

    def _seconds(self, variable: str, usual: float) -> float:
        try:
            return float(self._environ.get(variable, usual))
        except ValueError:
            raise BadInput(f"{variable} is no number of seconds.") from None


def _asked_for_one(argv: commands.Argv) -> bool:
    """Whether squeue was asked for one job: only then an unknown id is an error of the whole."""
    return "--jobs" in argv and "," not in argv[-1]


def _silence(done: process.Finished) -> NoAnswer:
    program = done.argv[0]
    said = (done.stderr.strip() or done.stdout.strip())[-1000:]
    if done.missing:
        hint = "Load the cluster's slurm module."
        return NoAnswer(f"{program} cannot be started here: {said}", hint)
    if done.timed_out:
        return NoAnswer(f"{program} did not answer in time.")
    return NoAnswer(f"{program}: {said or f'exit {done.returncode}'}")
