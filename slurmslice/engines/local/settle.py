"""What a runner that was killed left: brought in order by whoever looks next."""

from __future__ import annotations

import time

from slurmslice.engines.local.inbox import Inbox
from slurmslice.engines.local.orders import Orders
from slurmslice.engines.local.strays import sweep


def settle(orders: Orders, inbox: Inbox, mark: str) -> bool:
    """Bring the books up to date where no runner lives; whether all could be. Hold the role.

    What a dead runner had taken is given back, once no process of it is left. What was to be
    cancelled and never started is cancelled.
    """
    inbox.refresh()
    swept: bool | None = None
    for placed in orders.unfinished():
        books, taken = placed.books, placed.books.taken
        if taken is not None and swept is None:
            swept = sweep(mark)
        if taken is not None and not swept:
            continue
        left = [index for index in placed.order.array if index not in books.ended]
        books.cancel(inbox.cancelled(placed.job, left), time.time())
        if taken is not None:
            reason = f"interrupted: its runner (process {taken.pid} on {taken.host}) ended"
            books.write("returned", int(time.time()), reason, durably=True)
        books.refresh()
    return swept is not False
