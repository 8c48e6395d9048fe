"""Slurm's texts for the reason of a pending task, and what a person can do. Pure.

Source: squeue(1), JOB REASON CODES; names of limits: src/common/slurm_protocol_defs.c. No other
module knows these texts.
"""

from __future__ import annotations

import re

from slurmslice.engines.protocol import BlockingReason

_REQUEST = "-c CPUS --mem SIZE"
_HELD = "To let it start: scontrol release {job}"

# A pattern; the explanation, which continues "it"; options to change; advice.
_NEVER_PASS = (
    (r"PartitionTimeLimit", "requests more time than its partition allows", "-t TIME", ""),
    (r"(?:Assoc|QOS)MaxWall\w*", "requests more time than its account allows", "-t TIME", ""),
    (r"PartitionNodeLimit", "requests more or fewer nodes than its partition allows",
     "-N NODES", ""),
    (r"(?:Assoc|QOS)M(?:ax|in)\w*(?:Per(?:Job|Node)\w*|NotSatisfied)",
     "requests more or less than its account allows per job", _REQUEST, ""),
    (r"QOSMin\w+", "requests less than its QOS allows", _REQUEST, ""),
    (r"MaxMemPerLimit", "requests more memory than its partition allows", "--mem SIZE", ""),
    (r"BadConstraints", "requests features that no node has", "-C FEATURES", ""),
    (r"DependencyNeverSatisfied", "has a dependency that can never be satisfied",
     "-d none", ""),
    (r"(?:InvalidAccount|AccountNotAllowed)", "has an account that is not allowed here",
     "-A ACCOUNT", ""),
    (r"(?:InvalidQOS|QOSNotAllowed)", "has a QOS that is not allowed here", "-q QOS", ""),
    (r"(?:Assoc|QOS)Grp(?:\w*Minutes\w*|WallLimit)|QOSUsageThreshold",
     "has an account with no time left", "-A ACCOUNT", ""),
    (r"ReservationDeleted", "has a reservation that was deleted", "--reservation NAME",
     "`scontrol show reservation` lists the reservations."),
    # "job requeued" and "launch failed" were seen: after scontrol requeuehold, and after a
    # restarted controller tried to start a task still present on its node.
    (r"(?:JobHeldUser|job requeued in held state|launch failed requeued held)",
     "is held", "", _HELD),
    (r"JobHoldMaxRequeue", "is held, because Slurm has requeued it too often", "", _HELD),
    (r"(?:user env retrieval failed|launch failed|launch failure limit exceeded) requeued held",
     "is held, because its node could not start it", "",
     "To try it again: scontrol release {job}"),
    (r"JobHeldAdmin", "is held by an administrator", "", "Ask the cluster's administrators."),
)  # fmt: skip
# These pass when other jobs end or an administrator acts. They last for ever if one task alone is
# above the limit.
_MAY_PASS = (
    (r"(?:Assoc|QOS)(?:GrpJobsLimit|MaxJobs\w*)|QOSJobLimit|AssociationJobLimit",
     "waits until other jobs of its account, of its QOS or of yours have ended", "",
     "Wait; `squeue --me` shows your jobs. With another account: -A ACCOUNT of `resubmit`."),
    (r"(?:Assoc|QOS)(?:Grp|Max)(?!\w*Submit)\w+|(?:QOS|Association)ResourceLimit",
     "waits for its share of a limit that other jobs use", _REQUEST,
     "Wait; or request less, if one task alone is above the limit: `sacctmgr show assoc` and "
     "`sacctmgr show qos` show it."),
    (r"Partition(?:Down|Inactive)", "waits for its partition, which is down", "-p PARTITION",
     "Wait; `sinfo -s` lists the partitions."),
    (r"ReqNodeNotAvail|NodeDown", "waits for nodes that are down, drained or reserved", "-t TIME",
     "Wait; `sinfo -R` tells why. A shorter task may end before a maintenance begins, and "
     "--nodelist chooses other nodes."),
    (r"Licenses", "waits for licenses that other jobs use", "-L LICENSES",
     "Wait; `scontrol show licenses` shows how many there are."),
    (r"Reservation", "waits for its reservation to begin", "--reservation NAME",
     "Wait; `scontrol show reservation` shows when it begins."),
)  # fmt: skip
_TABLE = tuple(
    (re.compile(rf"\b(?:{pattern})(?!\w)"), rest, may_pass)
    for table, may_pass in ((_NEVER_PASS, False), (_MAY_PASS, True))
    for pattern, *rest in table
)


def find_blocking_reason(text: str) -> BlockingReason | None:
    """Find the reason in a text of Slurm's for which a task may never start; None if there is none.

    Reasons that are only a matter of time, such as Priority, are none.
    """
    for pattern, (explanation, options, advice), may_pass in _TABLE:
        if match := pattern.search(text):
            return BlockingReason(match[0], explanation, options, advice, may_pass)
    return None
