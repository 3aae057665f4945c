"""How etcd does, from what its answers were like. Pure: time is an argument."""

from typing import Final

from sad.cluster.ports import EtcdError, EtcdFull, EtcdRefused, Header
from sad.model.cluster import EtcdState

#: An answer that takes longer is slow: half of the time in which the shortest lease is renewed.
SLOW_SECONDS: Final = 0.25


class Health:
    """The state of etcd as this node sees it, and the way out."""

    def __init__(self) -> None:
        self.state = EtcdState.CONNECTING
        self.hint = ""
        self.header: Header | None = None
        self._full = False

    def answered(self, seconds: float) -> None:
        """It has answered a question in this time."""
        if self.state is EtcdState.WENT_BACK or self._full:
            return
        slow = seconds > SLOW_SECONDS
        self.state = EtcdState.SLOW if slow else EtcdState.WELL
        self.hint = "look at etcd's disk and its network" if slow else ""

    def wrote(self) -> None:
        """It has taken a write."""
        self._full = False

    def failed(self, error: EtcdError) -> None:
        """It has not done what it was asked."""
        self.hint = error.hint
        if isinstance(error, EtcdFull):
            self._full, self.state = True, EtcdState.FULL
        elif isinstance(error, EtcdRefused):
            self.state = EtcdState.REFUSING
        else:
            self.state = EtcdState.GONE

    def saw(self, before: Header | None, now: Header) -> bool:
        """Take the header of an answer; return whether the store went back.

        ``before`` is the header that was known when the question was asked: a linearizable answer
        is not older than that.
        """
        back = before is not None and (
            now.cluster_id != before.cluster_id or now.revision < before.revision
        )
        if back or self.header is None or now.revision > self.header.revision:
            self.header = now
        if back:
            self.state = EtcdState.WENT_BACK
            self.hint = (
                "a backup of etcd was restored: what this node owns is written anew; what no "
                "living node owned is as old as the backup"
            )
        return back

    def compared(self) -> None:
        """Everything is written anew after the store went back."""
        if self.state is EtcdState.WENT_BACK:
            self.state, self.hint = EtcdState.WELL, ""
