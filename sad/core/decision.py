"""From a request to an association, or to its refusal."""

import math
from collections.abc import Collection
from collections.abc import Set as AbstractSet

from msgspec import Struct, structs

from sad.core.allocation import RandBelow, choose_client_port, choose_reqid, choose_spi
from sad.core.occupancy import check_against_table
from sad.core.table import AssociationTable
from sad.core.validation import check_request
from sad.model.association import Association, AssociationState, Phase
from sad.model.endpoint import Endpoint, Role
from sad.model.errors import LimitExceeded
from sad.model.requests import InstallRequest
from sad.model.rules import Layout, Lifetimes, Limits
from sad.model.sa_set import SaSetParameters


class Circumstances(Struct, frozen=True, kw_only=True, gc=False):
    """What a decision depends on beside the request: settings, node and clock.

    ``now`` is CLOCK_BOOTTIME, ``realtime`` the real-time clock, both in seconds.
    """

    layout: Layout
    lifetimes: Lifetimes
    limits: Limits
    own_addresses: AbstractSet[str]
    missing_algorithms: AbstractSet[str]
    now: float
    realtime: float


def decide_install(
    request: InstallRequest,
    endpoint: Endpoint,
    table: AssociationTable,
    around: Circumstances,
    randbelow: RandBelow,
    *,
    leaving: Collection[str] = (),
    came_back: bool = False,
) -> Association:
    """Return the association to install, in phase INSTALLING; raise a SadError to refuse.

    What the request leaves open (own SPIs, own client port) is chosen here. ``leaving`` and
    ``came_back`` are those of :func:`~sad.core.occupancy.check_against_table`.
    """
    check_request(
        request, endpoint, around.lifetimes, around.own_addresses, around.missing_algorithms
    )
    if len(table) - len(leaving) >= around.limits.max_associations:
        raise LimitExceeded(
            limit="associations",
            maximum=around.limits.max_associations,
            hint="raise limits.max_associations",
        )
    sa_set = _complete(request, endpoint, table, randbelow, leaving)
    temporary = request.lifetime_seconds is None
    lifetime = (
        around.lifetimes.reg_await_auth if temporary else float(request.lifetime_seconds or 0)
    )
    draft = Association(
        id=f"{randbelow(1 << 48):012x}",
        endpoint=endpoint.name,
        private_identity=request.private_identity,
        public_identities=request.public_identities,
        mechanism=request.mechanism,
        state=AssociationState.TEMPORARY if temporary else AssociationState.ESTABLISHED,
        phase=Phase.INSTALLING,
        ipsec_3gpp=sa_set,
        reqid_in=0,
        reqid_out=(0, 0),
        created_at=around.realtime,
        confirmed_at=0.0 if temporary else around.realtime,
        deadline_at=around.now + lifetime,
        policies_until=around.now + around.lifetimes.policies,
    )
    _check_address_pair(draft, table, around.limits, leaving)
    check_against_table(draft, table, leaving=leaving, came_back=came_back)
    siblings = table.of_registration(draft.registration)
    until, created = draft.policies_until, max(draft.created_at, 0)
    for a in siblings:
        # What it shares with older sets is not written again: it ends when theirs does.
        until = min(until, a.policies_until)
        # In the order of their making, whatever the wall clock does: a start reads it from here.
        created = max(created, math.nextafter(a.created_at, math.inf))
    most = around.limits.max_sets_per_registration
    if len(siblings) >= most and sum(a.id not in leaving for a in siblings) >= most:
        # TS 33.203 7.1 note 13: six SAs per direction; each set has two.
        raise LimitExceeded(
            limit="SA sets of one registration",
            maximum=most,
            hint="release an older set; six SAs per direction is the bound of TS 33.203 7.1",
        )
    reqid_in, reqid_out = _reqids(siblings, table, around.layout, randbelow)
    return structs.replace(
        draft,
        reqid_in=reqid_in,
        reqid_out=reqid_out,
        policies_until=until,
        created_at=created,
    )


def _check_address_pair(
    draft: Association, table: AssociationTable, limits: Limits, leaving: Collection[str]
) -> None:
    """Raise LimitExceeded unless the kernel's chain of this pair of addresses has room."""
    s = draft.sa_set
    others = table.of_peer(s.peer_address)
    if len(others) < limits.max_sets_per_address_pair:
        return
    held = sum(
        bool(a.path.local_spis) and a.path.local_address == s.local_address and a.id not in leaving
        for a in others
    )
    if held >= limits.max_sets_per_address_pair:
        raise LimitExceeded(
            limit=f"SA sets between {s.local_address} and {s.peer_address}",
            maximum=limits.max_sets_per_address_pair,
            hint="so many user agents at one address are behind a NAT: give the endpoint another "
            "address, or raise limits.max_sets_per_address_pair and have each of their packets "
            "cost more",
        )


def _complete(
    request: InstallRequest,
    endpoint: Endpoint,
    table: AssociationTable,
    randbelow: RandBelow,
    leaving: Collection[str],
) -> SaSetParameters:
    edge = request.role is Role.EDGE
    local, peer = (
        (request.pcscf_address, request.ue_address)
        if edge
        else (request.ue_address, request.pcscf_address)
    )
    if edge:
        peer_spis = (request.spi_uc, request.spi_us)
        own_spi_c, own_spi_s, own_client = request.spi_pc, request.spi_ps, request.port_pc
        peer_client, peer_server = request.port_uc, request.port_us
    else:
        peer_spis = (request.spi_pc, request.spi_ps)
        own_spi_c, own_spi_s, own_client = request.spi_uc, request.spi_us, request.port_uc
        peer_client, peer_server = request.port_pc, request.port_ps
    given = frozenset([s for s in (*peer_spis, own_spi_c, own_spi_s) if s is not None])
    if own_spi_c is None:
        own_spi_c = choose_spi(endpoint, local, given, table, randbelow)
    if own_spi_s is None:
        own_spi_s = choose_spi(endpoint, local, given | {own_spi_c}, table, randbelow)
    if own_client is None:
        own_client = choose_client_port(endpoint, peer, peer_server or 0, table, leaving)
    own = (own_spi_c, own_spi_s, own_client, endpoint.server_port)
    theirs = (peer_spis[0] or 0, peer_spis[1] or 0, peer_client or 0, peer_server or 0)
    of_ue, of_pcscf = (theirs, own) if edge else (own, theirs)
    return SaSetParameters(
        role=request.role,
        ue_address=request.ue_address,
        pcscf_address=request.pcscf_address,
        spi_uc=of_ue[0],
        spi_us=of_ue[1],
        spi_pc=of_pcscf[0],
        spi_ps=of_pcscf[1],
        port_uc=of_ue[2],
        port_us=of_ue[3],
        port_pc=of_pcscf[2],
        port_ps=of_pcscf[3],
        integrity_algorithm=request.integrity_algorithm,
        encryption_algorithm=request.encryption_algorithm,
        encapsulation=request.encapsulation,
    )


def _reqids(
    siblings: tuple[Association, ...],
    table: AssociationTable,
    layout: Layout,
    randbelow: RandBelow,
) -> tuple[int, tuple[int, int]]:
    """Return the inbound reqid and the two outbound ones."""
    # One inbound reqid per registration: cross pairs of real phones and both sets of a
    # re-registration pass each other's policies (INTEROP-1; design section 7).
    taken: frozenset[int] = frozenset()
    if siblings:
        reqid_in = siblings[0].reqid_in
    else:
        reqid_in = choose_reqid(layout.reqid_range, table, taken, randbelow)
    taken |= {reqid_in}
    to_client = choose_reqid(layout.reqid_range, table, taken, randbelow)
    to_server = choose_reqid(layout.reqid_range, table, taken | {to_client}, randbelow)
    return reqid_in, (to_client, to_server)
