"""The limits of accounts and qualities of service, as sacctmgr prints them. Pure.

Source: sacctmgr(1), and Slurm's page on resource limits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from slurmslice.engines.slurm.commands import ACCOUNT_FIELDS, ASSOCIATION_FIELDS, QOS_FIELDS
from slurmslice.engines.slurm.fields import parse_number, parse_size
from slurmslice.sbatch.resource_request import ResourceRequest


def enforces_limits(settings: Mapping[str, str]) -> bool:
    """True if the cluster enforces accounting limits (slurm.conf(5), AccountingStorageEnforce)."""
    return bool({"limits", "safe"} & set(settings.get("AccountingStorageEnforce", "").split(",")))


def running_limits(
    associations: str, qualities: str, request: ResourceRequest
) -> Iterator[tuple[int, str]]:
    """Yield the accounting limits of tasks running at once: a number of tasks, and the reason.

    Args:
        associations: the answers to ``commands.sacctmgr_associations`` and to
            ``commands.sacctmgr_accounts``, one after the other; invalid lines are ignored.
        qualities: the answer to ``commands.sacctmgr_qos``, likewise.
        request: of one task, as ``effective_request`` returns it.
    """
    association_rows, qos_rows = _limit_rows(associations, qualities, request)
    for row in association_rows:
        yield from _running_limits_of(row, ("MaxJobs", "GrpJobs"), ("GrpTRES",), request)
    for row in qos_rows:
        yield from _running_limits_of(
            row, ("MaxJobsPU", "GrpJobs"), ("GrpTRES", "MaxTRESPU"), request
        )


def submit_limits(
    associations: str, qualities: str, request: ResourceRequest, settings: Mapping[str, str]
) -> Iterator[tuple[int, str]]:
    """Yield the limits of a user's tasks in the queue, running ones included.

    ``MaxJobCount`` counts the jobs of all users. Each array task counts as one job.

    Args:
        associations: the answers to ``commands.sacctmgr_associations`` and to
            ``commands.sacctmgr_accounts``, one after the other; invalid lines are ignored.
        qualities: the answer to ``commands.sacctmgr_qos``, likewise.
        request: of one task.
        settings: the settings of ``scontrol show config``.

    Yields:
        a number of tasks, and the reason.
    """
    jobs = parse_number(settings.get("MaxJobCount", ""))
    if jobs is not None:
        yield jobs, f"MaxJobCount is {jobs}"
    association_rows, qos_rows = _limit_rows(associations, qualities, request)
    for row in association_rows:
        yield from _count_limits(row, ("MaxSubmit", "GrpSubmit"))
    for row in qos_rows:
        yield from _count_limits(row, ("MaxSubmitPU", "MaxSubmitPA", "GrpSubmit"))


def _limit_rows(
    associations: str, qualities: str, request: ResourceRequest
) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Return the associations and the qualities of service that apply to a task."""
    association_rows = [
        row
        for row in _parse_table(associations, ASSOCIATION_FIELDS)
        if row["Account"] == request.get("account", row["DefaultAccount"])
        and row["Partition"] in {"", request.partition}
    ]
    default = {row["DefaultQOS"] or row["QOS"] for row in association_rows}
    names = {request["qos"]} if "qos" in request else default
    accounts = _accounts_above({row["Account"] for row in association_rows}, associations)
    return [*association_rows, *accounts], [
        row for row in _parse_table(qualities, QOS_FIELDS) if row["Name"] in names
    ]


def _accounts_above(names: Iterable[str], associations: str) -> list[dict[str, str]]:
    """Return the rows of these accounts, and of the accounts above them."""
    known = {row["Account"]: row for row in _parse_table(associations, ACCOUNT_FIELDS)}
    found, left = dict[str, dict[str, str]](), list(names)
    while left:
        name = left.pop()
        if name in known and name not in found:
            found[name] = {**known[name], "MaxJobs": "", "MaxSubmit": ""}
            left.append(known[name]["ParentName"])
    return list(found.values())


def _parse_table(text: str, fields: Sequence[str]) -> Iterator[dict[str, str]]:
    rows = (line.split("|") for line in text.split("\n"))
    return (dict(zip(fields, row, strict=True)) for row in rows if len(row) == len(fields))


def _running_limits_of(
    row: Mapping[str, str],
    counts: Iterable[str],
    resources: Iterable[str],
    request: ResourceRequest,
) -> Iterator[tuple[int, str]]:
    yield from _count_limits(row, counts)
    for key in resources:
        for name, amount, text in _resources(row[key]):
            if needed := _amount(name, request):
                yield amount // needed, f"{key} is {text}"


def _resources(text: str) -> Iterator[tuple[str, int, str]]:
    """Yield the name, the amount and the text of each resource in a limit; memory in bytes."""
    for resource in text.split(","):
        name, _, amount = resource.partition("=")
        if name == "mem":
            number = parse_size(amount if amount[-1:].isalpha() else f"{amount}M")
        else:
            number = parse_number(amount)
        if number is not None:
            yield name, number, resource


def _amount(name: str, request: ResourceRequest) -> int:
    """Return the least amount of a resource that Slurm counts for one task; 0 if not known."""
    amounts = {"cpu": request.cpus, "mem": (request.mem_mib or 0) << 20, "node": request.nodes,
               "gres/gpu": request.gpus or 0}  # fmt: skip
    return amounts.get(name, 0)


def why_above_limits(associations: str, qualities: str, request: ResourceRequest) -> str:
    """Explain that one task alone is larger than a limit of its group; empty if none is known.

    Slurm accepts such a task, and it waits for ever. A limit of the QOS replaces that of the
    associations for the same resource (Slurm's page on resource limits, hierarchy).
    """
    association_rows, qos_rows = _limit_rows(associations, qualities, request)
    of_qos = [(key, *one) for row in qos_rows for key in ("GrpTRES", "MaxTRESPU")
              for one in _resources(row[key])]  # fmt: skip
    replaced = {name for _, name, _, _ in of_qos}
    of_group = [("GrpTRES", *one) for row in association_rows for one in _resources(row["GrpTRES"])
                if one[0] not in replaced]  # fmt: skip
    for key, name, amount, text in (*of_qos, *of_group):
        if _amount(name, request) > amount:
            return f"{key} is {text}, and one task alone needs more"
    return ""


def _count_limits(row: Mapping[str, str], keys: Iterable[str]) -> Iterator[tuple[int, str]]:
    for key in keys:
        jobs = parse_number(row[key])
        if jobs is not None:
            yield jobs, f"{key} is {jobs}"
