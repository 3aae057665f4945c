"""What ``sad`` does without being asked: sets that end leave the shared tables.

An operator, the kernel or another phone may end a set that the hook knows. Then nobody must be
sent to it any more: the next request asks the daemon and is refused at once, in place of being
dropped by the kernel until its sender gives up. One timer process of Kamailio reads the daemon's
``Monitor``; no worker waits for it. While the daemon is away the tables stay as they are.

A new subscription begins with all living sets. The tables are compared with them, but nothing is
taken out before another turn has brought the sets that a worker has heard of meanwhile.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any, Container, Deque, Dict, Optional, Set, Tuple

from sip_hooks.client import BadReply, CallError, Client, ClientError, Subscription, TimedOut
from sip_hooks.kamailio import message, tables, tls_table
from sip_hooks.kamailio.daemon import CallSettings
from sip_hooks.kamailio.tables import Association

_MONITOR = "org.sipsad.Associations.Monitor"
#: Of work in one turn, which a mass expiry may fill.
_TURN_SECONDS = 1.0
#: So long nothing came: that was all.
_QUIET_SECONDS = 0.02
#: A worker that was told of a set has written it by then, beyond its time-out.
_LATE_SECONDS = 1.0
_MOST_LATE = 4096
#: Entries that are noted before they are removed.
_AT_ONCE = 32_768


class _Known:
    """What the tables of this configuration hold: SA sets, TLS connections, or both."""

    def __init__(self, *, sets: bool, connections: bool) -> None:
        self.sets = sets
        self.connections = connections

    def unlisted(self, listed: Container[str]) -> Set[str]:
        """Return the ids of what is known and not ``listed``."""
        found: Set[str] = tables.unlisted(listed) if self.sets else set()
        return found | tls_table.unlisted(listed) if self.connections else found

    def forget(self, ids: Container[str], most: int) -> int:
        """Forget up to so many entries; return how many were found."""
        found = tables.forget_sets(ids, most) if self.sets else 0
        if self.connections and found < most:
            found += tls_table.forget_all(ids, most - found)
        return found


class _Comparison:
    """Of the tables with what the daemon lists at the beginning of a subscription."""

    def __init__(self, known: _Known) -> None:
        self.ready = False
        self._known = known
        self._listed: Set[str] = set()
        self._unlisted: Optional[Set[str]] = None
        self._forgotten = 0

    def lives(self, association_id: str) -> None:
        self._listed.add(association_id)

    def ends(self, association_id: str) -> None:
        self._listed.discard(association_id)

    def turn(self, end: float) -> bool:
        """Go on until the instant ``end``; return whether all is done."""
        if self._unlisted is None:
            self._unlisted = self._known.unlisted(self._listed)
            return not self._unlisted
        self._unlisted -= self._listed
        while time.monotonic() < end:
            found = self._known.forget(self._unlisted, _AT_ONCE)
            self._forgotten += found
            if found < _AT_ONCE:
                if self._forgotten:
                    message.log("{} entries of ended sets: forgotten".format(self._forgotten))
                return True
        return False


class Follower:
    """The reader of one process."""

    def __init__(
        self, settings: CallSettings, *, sets: bool = True, connections: bool = False
    ) -> None:
        self._known = _Known(sets=sets, connections=connections)
        self._client = Client(settings.socket, timeout=settings.timeout)
        self._late_seconds = settings.timeout + _LATE_SECONDS
        self._subscription: Optional[Subscription] = None
        self._comparison: Optional[_Comparison] = None
        self._late: Deque[Tuple[float, Association]] = deque()
        self._said = ""

    def turn(self) -> None:
        """Take what has come. Called by a timer; takes some seconds at most."""
        end = time.monotonic() + _TURN_SECONDS
        try:
            if self._subscription is None:
                self._subscription = self._client.subscribe(_MONITOR, {})
                self._comparison = _Comparison(self._known)
            drained = self._drain(self._subscription, end)
        except ClientError as error:
            self._lost(error)
            drained = False
        self._look_again()
        comparison = self._comparison
        if drained and comparison is not None and comparison.ready and comparison.turn(end):
            self._comparison = None

    def _drain(self, subscription: Subscription, end: float) -> bool:
        """Take replies until none comes; False if there is no time for all."""
        while time.monotonic() < end:
            try:
                reply = subscription.next(_QUIET_SECONDS)
            except TimedOut:
                return True
            if reply.get("event") == "resync":
                self._hang_up()  # the next turn begins anew
                return False
            try:
                self._take(reply)
            except (AttributeError, KeyError, TypeError):
                # Who did not understand all of them must not take out what was not listed.
                raise BadReply("an event that makes no sense") from None
        return False

    def _take(self, reply: Dict[str, Any]) -> None:
        event, association = reply.get("event"), reply.get("association")
        self._said = ""
        if event == "ready":
            if self._comparison is not None:
                self._comparison.ready = True
            return
        if association is None:
            raise BadReply("an event of no association")
        if event == "ended":
            self._ended(association)
        elif self._comparison is not None:
            self._comparison.lives(association["id"])
        if association.get("ipsec3gpp") is None and not (
            association.get("tls") and self._known.sets
        ):
            return
        if event == "changed" and association["state"] == "retiring":
            # T24-D-1: nothing new begins. Its flows stay, for what was begun.
            tables.forget_registration(association)

    def _ended(self, association: Association) -> None:
        if self._comparison is not None:
            self._comparison.ends(association["id"])
        if association.get("tls") and self._known.connections:
            tls_table.forget(association)
            if self._known.sets:
                tables.forget_registration(association)
        if association.get("ipsec3gpp") is None:
            return
        tables.forget_set(association)
        # A worker may have been about to write what it had just been told of the set.
        if len(self._late) >= _MOST_LATE:
            self._late.popleft()
        self._late.append((time.monotonic() + self._late_seconds, tables.ends_of(association)))

    def _look_again(self) -> None:
        now = time.monotonic()
        while self._late and self._late[0][0] <= now:
            tables.forget_set(self._late.popleft()[1])

    def _lost(self, error: ClientError) -> None:
        """Say each kind once till it is over, and try again in the next turn."""
        self._hang_up()
        kind = error.name if isinstance(error, CallError) else type(error).__name__
        if kind != self._said:
            self._said = kind
            message.log("Monitor: {}; the tables stay as they are".format(error))

    def _hang_up(self) -> None:
        self._comparison = None
        if self._subscription is not None:
            self._subscription.close()
            self._subscription = None
