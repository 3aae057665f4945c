"""Following NATs: where a user agent's packets come from is where its own go (T33-M-b).

The kernel tells of each genuine packet from another port than an SA has. The first one tells the
port of the NAT, later ones that the NAT has forgotten the user agent and taken another for it. A
changed *address* is not followed: a set is bound to the one its REGISTER came from (T33-7.1-c),
and a recorded packet would else be enough to lead a user agent's traffic elsewhere.
"""

import logging

from msgspec import structs

from netlink.model import KernelEvent, NatMapping
from sad.model.association import Association, Phase, RegistrationKey
from sad.model.errors import KernelRefused, Lost
from sad.model.journal import Put
from sad.model.views import WatchKind
from sad.runtime.state import Shared
from sad.runtime.story import Step

log = logging.getLogger(__name__)


class NatMappings:
    """Takes notices of NAT mappings and has the kernel and the journal follow."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._wanted: dict[tuple[RegistrationKey, str], int] = {}
        self._elsewhere: set[str] = set()

    def notice(self, event: KernelEvent) -> None:
        """Look at a kernel notice; many of one mapping cost one change."""
        if not isinstance(event, NatMapping):
            return
        association = self._shared.table.of_spi(event.id.destination, event.id.spi)
        udp = association and association.ipsec_3gpp and association.ipsec_3gpp.encapsulation
        if association is None or not udp:
            return
        if event.address != udp.peer_address:
            self._tell_of_elsewhere(association, event)
        elif event.port != udp.peer_port:
            key = (association.registration, event.address)
            begun = key in self._wanted
            self._wanted[key] = event.port
            if not begun:
                self._shared.background.start(self._follow(*key))

    def _tell_of_elsewhere(self, association: Association, event: NatMapping) -> None:
        if association.id not in self._elsewhere:  # once: each of its packets is told of
            self._elsewhere = {i for i in self._elsewhere if self._shared.table.get(i)}
            self._elsewhere.add(association.id)
            log.warning(
                "association %s: packets come from %s now; a set stays with the address of its "
                "REGISTER, so the user agent must register anew",
                association.id,
                event.address,
            )

    async def _follow(self, registration: RegistrationKey, address: str) -> None:
        """Send to the new port on every set of the user agent behind this NAT.

        Journal first: whoever dies in between is followed up by the next comparison.
        """
        shared = self._shared
        async with shared.lock(registration):
            port = self._wanted.pop((registration, address))
            moved = [
                after
                for a in shared.settled(registration)
                if a.phase is Phase.INSTALLED and (after := _moved(a, address, port)) is not None
            ]
            await shared.record_tolerant(*(Put(a) for a in moved))
            for association in moved:
                shared.table.put(association)
            for association in moved:
                mechanism = shared.mechanisms[association.mechanism]
                try:
                    await mechanism.set_deadline(shared.settled(registration), association)
                except Lost:
                    shared.request_reconcile("an SA whose NAT has moved is gone")
                except KernelRefused as error:
                    shared.tell_refusal("a NAT that has moved could not be followed", error)
                    shared.request_reconcile("a NAT could not be followed")
                else:
                    shared.tell(WatchKind.CHANGED, Step.NAT_FOLLOWED, association)


def _moved(association: Association, address: str, port: int) -> Association | None:
    """Return the association as sent to ``port``; None if that changes nothing."""
    udp = association.sa_set.encapsulation
    if udp is None or udp.peer_address != address or udp.peer_port == port:
        return None
    sa_set = structs.replace(
        association.sa_set, encapsulation=structs.replace(udp, peer_port=port)
    )
    return structs.replace(association, ipsec_3gpp=sa_set)
