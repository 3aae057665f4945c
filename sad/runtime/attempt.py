"""One Offer on its way. A part of :mod:`sad.runtime.offers`."""

import asyncio

from sad.model.agreement import Refusal
from sad.model.association import Association


class Attempt:
    """What callers of the same transaction wait for together.

    ``refusals`` are of the offers that were passed over, known as soon as it has succeeded.
    """

    def __init__(self) -> None:
        self.task: asyncio.Task[Association]
        self.refusals: tuple[Refusal, ...] = ()
        self.waiting = 0
        self.answered = False

    @property
    def failed(self) -> bool:
        """Whether there is nothing to take back."""
        done = self.task.done()
        return done and (self.task.cancelled() or self.task.exception() is not None)
