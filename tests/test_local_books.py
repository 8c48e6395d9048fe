"""The local engine: what every process can see, ask for and rely on, by files alone."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from slurmslice.engines.local import LocalEngine
from slurmslice.engines.local.books import Books
from slurmslice.engines.local.inbox import Inbox
from slurmslice.engines.local.role import Role
from slurmslice.errors import BadInput, DamagedRun, EngineError
from slurmslice.resources import ResourceRequest
from slurmslice.states import State
from tests.requested import a_request
from tests.test_local_bench import WORKS_ON, Bench, bench, hasty, quiet, until
from tests.test_local_slots import HELD

__all__ = ["bench", "hasty", "quiet"]


# -- orders ----------------------------------------------------------------------------------------


def test_submit_only_writes(bench: Bench) -> None:
    """An order runs nothing; it is PENDING, and says that nobody works on it."""
    order = bench.order("echo >>$NOTES/ran", "0-2", mem_mib=50)
    receipt = bench.engine.submit(order)
    assert receipt.job == "1"
    assert not bench.engine.working
    assert bench.states(order) == {State.PENDING}
    assert bench.queue(order)[0].reason == "no process works on it yet"
    assert bench.queue(order)[0].requested_mem_bytes == 50 << 20
    assert not bench.lines("ran")


def test_an_order_comes_back_as_it_was(bench: Bench) -> None:
    """Whoever reads it gets what was ordered: names, paths and numbers to the byte."""
    order = bench.order("true", "0-8:4,11%3", arguments=("002",), cpus=2, mem_mib=7, time_s=60)
    odd = replace(order, job_name='a\udcff"\\ é-token1', overrides=a_request(mem_mib=7))
    bench.engine.submit(odd)
    (placed,) = LocalEngine(bench.run_dir)._orders.look()
    assert placed.order == odd


def test_find_by_token(bench: Bench) -> None:
    """An order is found by its token, with its array, by any process; nothing else is."""
    assert bench.engine.find("token1", "bench-token1", 0.0) is None
    bench.submit("true", "0-4%2")
    found = LocalEngine(bench.run_dir).find("token1", "bench-token1", 0.0)
    assert found is not None
    assert (found.job, str(found.array)) == ("1", "0-4%2")
    assert bench.engine.find("token", "bench-token", 0.0) is None


def test_the_same_order_twice_is_one(bench: Bench) -> None:
    """After a doubt an order may be given again; another one may not take its number."""
    order = bench.submit("echo >>$NOTES/ran")
    assert bench.engine.submit(order).job == "1"
    bench.finish(order)
    assert bench.engine.submit(order).job == "1"
    bench.engine.wait(0.1)
    assert len(bench.lines("ran")) == 1
    with pytest.raises(BadInput, match="ordered already"):
        bench.engine.submit(replace(order, token="another"))


def test_a_damaged_order_is_named(bench: Bench) -> None:
    """An order that was spoilt by hand is an error that names the file."""
    order = bench.submit("true")
    (order.folder / "order.json").write_text('{"number": 1}')
    with pytest.raises(DamagedRun, match=r"001/order\.json"):
        LocalEngine(bench.run_dir).observe([("1", order.job_name)])


REFUSED = [
    (a_request(cpus=4096), "4096 CPUs"),
    (a_request(mem_mib=1 << 40), "of memory, and this machine"),
    *(
        (a_request(options=options), says)
        for options, says in [
            ((("nodes", "2"),), "More than one node"),
            ((("nodes", "2-4"),), "More than one node"),
            ((("ntasks", "8"), ("ntasks-per-node", "4")), "More than one node"),
            ((("gpus", "1"),), "--gpus=1"),
            ((("gpus-per-task", "v100:1"),), "GPUs"),
            ((("gres", "gpu:2"),), "--gres=gpu:2"),
            ((("gres", "gpu"),), "--gres=gpu"),
            ((("dependency", "afterok:5"),), "--dependency"),
            ((("begin", "now+1hour"),), "--begin"),
        ]
    ),
]


@pytest.mark.parametrize(("asked", "says"), REFUSED)
def test_what_one_machine_cannot_honour_is_refused(
    bench: Bench, asked: ResourceRequest, says: str
) -> None:
    """It is said which option, and nothing is written."""
    order = replace(bench.order("true"), request=asked)
    with pytest.raises(BadInput, match=says) as refusal:
        bench.engine.submit(order)
    assert refusal.value.hint
    with pytest.raises(BadInput, match=says):
        bench.engine.limits(asked)
    assert [path.name for path in order.folder.iterdir()] == ["script.sh"]


def test_what_it_can_do_without_is_ignored(bench: Bench) -> None:
    """Partition, account, mail, one node, no GPUs: the same script runs."""
    options = {
        "partition": "long",
        "account": "a",
        "qos": "q",
        "mail-type": "END",
        "nodes": "1-4",
        "gres": "none",
        "gpus": "0",
        "ntasks": "2",
        "signal": "USR1@30",
    }
    reports = bench.run("true", options=tuple(options.items()), time_s=60)
    assert reports[0].state is State.COMPLETED


def test_limits(bench: Bench) -> None:
    """How many fit at once, and why, by CPUs and by memory; at least one."""
    machine = bench.engine._machine
    machine.cpus, machine.affinity = 4, set(range(4))
    machine.free_memory = lambda: 3 << 30  # type: ignore[method-assign]
    limits = bench.engine.limits(a_request())
    assert (limits.at_once, limits.max_array_size) == (4, 4_000_001)
    assert limits.why == "4 CPUs of 4 free, 3 GiB of memory available"
    assert bench.engine.limits(a_request(cpus=3)).at_once == 1
    assert bench.engine.limits(a_request(mem_mib=1024)).at_once == 3
    assert bench.engine.limits(a_request(mem_mib=0)).at_once == 1


def test_an_engine_makes_nothing_before_the_first_order(tmp_path: Path) -> None:
    """Looking, asking for limits and waiting leave a folder as it is, or not there."""
    engine = LocalEngine(tmp_path / "run")
    engine.limits(a_request())
    assert not engine.observe([("1", "name")]).queue.reports
    assert engine.find("token", "name", 0.0) is None
    engine.wait(0.01)
    engine.close()
    assert list(tmp_path.iterdir()) == []


# -- what a reader sees ----------------------------------------------------------------------------


def test_a_reader_sees_what_another_process_runs(bench: Bench) -> None:
    """Running, pending and ended tasks; it returns early from wait when something changes."""
    order = bench.submit(HELD, "0-3%2")
    bench.elsewhere(WORKS_ON)
    until(lambda: len(bench.lines("trace")) == 2)
    until(lambda: bench.states(order) == {State.RUNNING, State.PENDING})
    running = bench.queue(order)[0]
    assert running.node == bench.engine.cluster()
    assert running.started_at is not None
    assert running.elapsed_s is not None
    (bench.notes / "go").touch()
    for _ in range(4):
        bench.engine.wait(60)  # it would take minutes if it slept through the news
        assert not bench.engine.working
        if not bench.queue(order):
            break
    assert {r.state for r in bench.ended(order).values()} == {State.COMPLETED}


def test_rows_of_others_are_left_out(bench: Bench) -> None:
    """A job that is asked for by another name, or that is not here, is absent."""
    bench.submit("true")
    seen = bench.engine.observe([("1", "other"), ("2", "bench-token2")])
    assert not seen.queue.reports
    assert not seen.accounting.reports


def test_another_machines_runner_is_not_judged(bench: Bench) -> None:
    """What a runner on another machine took is left alone, however free its lock seems."""
    order = bench.submit("true", "0-1")
    folder = bench.run_dir / "local"
    runner = {"pid": 7, "host": "elsewhere", "since": 1.0}
    (folder / "runner.json").write_text(json.dumps(runner))
    placed = bench.engine._orders.look()[0]
    placed.books.write("taken", 1, 7, "elsewhere", None)
    placed.books.write("start", 0, 8, "5.0", None)
    assert {i: r.state for i, r in bench.queue(order).items()} == {
        0: State.RUNNING,
        1: State.PENDING,
    }
    assert "process 7 on elsewhere" in bench.queue(order)[0].reason
    assert "runner.json" in bench.queue(order)[1].reason
    bench.engine.wait(0.05)
    assert not bench.engine.working
    (folder / "runner.json").unlink()
    assert bench.states(order) == {State.WAITING}
    assert bench.queue(order)[0].reason == "interrupted: its runner (process 7 on elsewhere) ended"


def test_no_lock_no_runner(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without locks runs nothing, and says where to go; looking still works."""
    order = bench.submit("true")

    def refuse(fd: int, how: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(EngineError, match="cannot be locked"):
        bench.engine.wait(1)
    assert bench.states(order) == {State.PENDING}


# -- cancel ----------------------------------------------------------------------------------------


def test_cancel_from_another_process(bench: Bench, hasty: None) -> None:
    """Pending tasks are CANCELLED at once and never start; running ones are ended; others go on."""
    order = bench.submit(f"trap '' TERM\n{HELD}", "0-5%2")
    bench.until(lambda: len(bench.lines("trace")) == 2)
    bench.elsewhere("engine.cancel('1', 'x', [1, 3, 4])").wait()
    bench.until(lambda: set(bench.ended(order)) == {1, 3, 4})
    assert {r.state for r in bench.ended(order).values()} == {State.CANCELLED}
    assert bench.ended(order)[3].started_at is None
    assert bench.ended(order)[1].signal == 9
    (bench.notes / "go").touch()
    reports = bench.finish(order)
    assert [reports[i].state for i in (0, 2, 5)] == [State.COMPLETED] * 3
    assert bench.lines("trace").count("+") == 4


def test_cancel_all(bench: Bench) -> None:
    """Without indices, whatever of the array has not ended."""
    order = bench.submit(f"[ $SLURM_ARRAY_TASK_ID = 0 ] && exit; {HELD}", "0-5%2")
    bench.until(lambda: len(bench.lines("trace")) == 2 and bench.ended(order))
    bench.engine.cancel("1", "x", None)
    reports = bench.finish(order)
    assert [reports[i].state for i in range(6)] == [State.COMPLETED, *[State.CANCELLED] * 5]


def test_cancel_without_a_runner(bench: Bench) -> None:
    """Nobody need work on an order for its pending tasks to be cancelled."""
    order = bench.submit("echo $SLURM_ARRAY_TASK_ID >>$NOTES/ran", "0-3")
    LocalEngine(bench.run_dir).cancel("1", "x", {1, 2})
    assert {i: r.state for i, r in bench.ended(order).items()} == dict.fromkeys(
        (1, 2), State.CANCELLED
    )
    bench.finish(order)
    assert sorted(bench.lines("ran")) == ["0", "3"]


def test_cancelled_beats_interrupted(bench: Bench) -> None:
    """What was to be cancelled while its runner died is CANCELLED, not given back."""
    order = bench.submit(HELD, "0-3%2")
    runner = bench.elsewhere(WORKS_ON)
    until(lambda: len(bench.lines("trace")) == 2)
    runner.send_signal(19)  # SIGSTOP: it hears nothing any more
    bench.engine.cancel("1", "x", [1, 3])
    runner.kill()
    runner.wait()
    until(lambda: bench.states(order) == {State.WAITING})
    assert set(bench.queue(order)) == {0, 2}
    assert {r.state for r in bench.ended(order).values()} == {State.CANCELLED}


# -- files -----------------------------------------------------------------------------------------


def books_of(path: Path) -> Books:
    """Books as a reader opens them."""
    books = Books(path, None, 0)
    books.refresh()
    return books


def test_a_torn_line_is_no_event(tmp_path: Path) -> None:
    """A line that a killed writer tore is left out, wherever it was torn, and spoils no other."""
    path = tmp_path / "local.tsv"
    end = (4, State.FAILED, 3, None, "10.000", "12.500", "2.5", "1.25", 4096, "why\tit is")
    Books(path, None, 0).write("end", *end)
    line = path.read_bytes()
    for cut in range(len(line)):
        path.write_bytes(line[:cut])
        assert not books_of(path).ended
        Books(path, None, 0).write("end", 5, *end[1:])
        ended = books_of(path).ended
        assert 5 in ended
        assert ended.get(4, ended[5]) == ended[5] or cut > line.rindex(b"\t")
    assert books_of(path).ended[5].reason == "why it is"


def test_books_are_read_on(tmp_path: Path) -> None:
    """A reader takes in what was added, once; lines of a stranger's hand are left out."""
    path = tmp_path / "local.tsv"
    writer, reader = Books(path, None, 0), Books(path, None, 0)
    assert not reader.refresh()
    writer.write("start", 1, 99, "5.0", None)
    assert reader.refresh()
    assert reader.started == {1: 5.0}
    assert not reader.refresh()
    with path.open("a") as file:
        file.write("end\tx\tNO\t\t\t\t\t\t\t\t\nnonsense\n\n")
    writer.cancel([2, 3, 4], 7.0)
    assert reader.refresh()
    assert set(reader.ended) == {2, 3, 4}


def test_requests_are_read_on(tmp_path: Path) -> None:
    """Requests of all processes are read in their order; a torn one is left out."""
    path = tmp_path / "local" / "inbox.tsv"
    inbox = Inbox(path)
    assert not inbox.refresh()
    Inbox(path).throttle("1", 4)
    Inbox(path).cancel("1", [3, 1])
    with path.open("a") as file:
        file.write("1\tthrottle\t1\tmany\n1\tcancel\t1\t5-\n1\tthrott")
    assert inbox.refresh()
    assert inbox.throttles == {"1": 4}
    assert inbox.cancelled("1", range(5)) == [1, 3]
    assert inbox.cancelled("2", range(5)) == []
    assert not inbox.wishes("2")


def test_the_role_is_one_processs(tmp_path: Path) -> None:
    """Only one has it; it is free when given up, and never made where there is no order."""
    one, two = Role(tmp_path), Role(tmp_path)
    assert one.take()
    one.announce()
    assert not two.take()
    holder = two.holder()
    assert holder is not None
    assert holder.pid == os.getpid()
    assert two.elsewhere() is None
    one.forget()
    one.release()
    assert two.holder() is None
    assert two.take()
    two.release()
    assert not Role(tmp_path / "nowhere" / "local").take()
