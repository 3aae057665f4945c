"""From a key set to the association of its pair of SAs, or the refusal."""

import math
from typing import Final

from msgspec import structs

from sad.core.allocation import RandBelow, choose_reqid
from sad.core.decision import Circumstances
from sad.core.key_plan import MECHANISM, Instant, deadline_of
from sad.core.table import AssociationTable
from sad.model.association import Association, AssociationState, Phase
from sad.model.errors import FlowInUse, LimitExceeded
from sad.model.key_set import KeySet
from sad.model.sa_pair import SaPairParameters

#: Its policies have no time limit: what no longer has SAs is to be blocked, not let pass in clear.
_NO_LIMIT: Final = float(1 << 40)


def decide_pair(
    key_set: KeySet,
    table: AssociationTable,
    around: Circumstances,
    randbelow: RandBelow,
    *,
    agreed: bool,
    granted_until: float | None,
) -> Association:
    """Return the association to install, in phase INSTALLING; raise a SadError to refuse.

    Unless it is ``agreed``, it is temporary: it ends soon if the peer does not show that it has
    the keys.
    """
    if len(table) >= around.limits.max_associations:
        raise LimitExceeded(
            limit="associations",
            maximum=around.limits.max_associations,
            hint="raise limits.max_associations",
        )
    at = Instant(now=around.now, realtime=around.realtime)
    deadline = deadline_of(key_set, granted_until, at)
    if not agreed:
        deadline = min(deadline, around.now + around.lifetimes.reg_await_auth)
    draft = Association(
        id=f"{randbelow(1 << 48):012x}",
        endpoint=key_set.endpoint,
        private_identity=key_set.identity,
        public_identities=(),
        mechanism=MECHANISM,
        state=AssociationState.ESTABLISHED if agreed else AssociationState.TEMPORARY,
        phase=Phase.INSTALLING,
        ipsec_man=pair_of(key_set),
        reqid_in=0,
        reqid_out=(0,),
        created_at=around.realtime,
        confirmed_at=around.realtime if agreed else 0.0,
        deadline_at=deadline,
        granted_until=granted_until,
        policies_until=_NO_LIMIT,
    )
    _check_occupancy(draft, table)
    siblings = table.of_registration(draft.registration)
    # In the order of their making, whatever the wall clock does: a start reads it from here.
    created = max(draft.created_at, *(math.nextafter(a.created_at, math.inf) for a in siblings), 0)
    reqid_in = (
        siblings[0].reqid_in
        if siblings
        else choose_reqid(around.layout.reqid_range, table, frozenset(), randbelow)
    )
    reqid_out = choose_reqid(around.layout.reqid_range, table, frozenset({reqid_in}), randbelow)
    return structs.replace(draft, created_at=created, reqid_in=reqid_in, reqid_out=(reqid_out,))


def pair_of(key_set: KeySet) -> SaPairParameters:
    """Return the parameters of the SAs that a key set means."""
    return SaPairParameters(
        role=key_set.role,
        local_address=key_set.local_address,
        peer_address=key_set.peer_address,
        spi_in=key_set.spi_in,
        spi_out=key_set.spi_out,
        local_ports=key_set.local_ports,
        peer_ports=key_set.peer_ports,
        integrity_algorithm=key_set.integrity_algorithm,
        encryption_algorithm=key_set.encryption_algorithm,
        key_set=key_set.name,
        key_check=key_set.key_check,
        lasting=key_set.lasting,
        activation=key_set.activation,
    )


def is_of(association: Association, key_set: KeySet) -> bool:
    """Whether an association is what a key set makes, at the addresses that it has."""
    path = association.path
    return association.ipsec_man == pair_of(key_set.between(path.local_address, path.peer_address))


def _check_occupancy(new: Association, table: AssociationTable) -> None:
    """Raise FlowInUse if ports or SPIs belong to somebody else (T33-7.1-p3, IPS-1)."""
    pair = new.path
    for port in pair.peer_ports:
        for other in table.of_peer_port(pair.peer_address, port):
            same_ends = other.path.local_address == pair.local_address
            if same_ends and other.registration != new.registration:
                raise _in_use(f"{pair.peer_address} port {port} is in use", other)
    for address, spis in (
        (pair.local_address, pair.local_spis),
        (pair.peer_address, pair.peer_spis),
    ):
        for spi in spis:
            holder = table.of_spi(address, spi)
            if holder is not None:
                raise _in_use(f"SPI {spi} at {address} is in use", holder)


def _in_use(reason: str, other: Association) -> FlowInUse:
    return FlowInUse(
        reason=reason,
        id=other.id,
        hint="release that association first, or agree on other SPIs and ports",
    )
