"""How associations of ``ipsec-ike`` stand in charon: names, selectors, connections. Pure.

Everything of ours there begins with :func:`prefix`, which bears the ownership tag; nothing without
it is ever touched. One connection for each peer and address, with a child for each association: of
two connections with the same identities and addresses the responder would only ever take one.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from netlink.uapi import IPPROTO_TCP
from sad.model.association import Association, AssociationState, Phase
from sad.model.ike import CERTIFICATE, PSK, IkePeer, IkeProfile
from sad.model.ike_child import IkeChild
from sad.vici.values import INSTALLED, ChildSa, IkeSa

MECHANISM: Final = "ipsec-ike"
#: SIP's: UDP and TCP.
PROTOCOLS: Final = (17, IPPROTO_TCP)
#: Tried anew when this part of a child's life is left, while its association lasts.
_REKEY_AT: Final = 0.25
_REPLAY_WINDOW: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a connection needs beside the settings; certificates in DER or PEM."""

    certificate: bytes | None = None
    authorities: tuple[bytes, ...] = ()


# --- names ---------------------------------------------------------------------------------------


def prefix(owner: int) -> str:
    """Return how every name of ours begins."""
    return f"sad-{owner:08x}-"


def secret_name(owner: int, endpoint: str, peer: IkePeer) -> str:
    """Return the name of a peer's secret."""
    return f"{prefix(owner)}{_word(endpoint)}-{_word(peer.name)}"


def connection_name(owner: int, endpoint: str, peer: IkePeer, address: str) -> str:
    """Return the name of the connection with a peer at an address."""
    return f"{secret_name(owner, endpoint, peer)}-{_word(address)}"


def child_name(owner: int, association_id: str) -> str:
    """Return the name of the child of an association."""
    return prefix(owner) + association_id


def association_of(owner: int, child: str) -> str | None:
    """Return the association that a child's name bears; None of what is not ours."""
    ours = prefix(owner)
    return child.removeprefix(ours) if child.startswith(ours) else None


def _word(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.:]", "_", text)


# --- connections ---------------------------------------------------------------------------------


def selectors(address: str, ports: Iterable[int]) -> list[str]:
    """Return selectors of exactly these ports, for UDP and TCP (R3329-2.4-ipsec-b)."""
    return [f"{address}[{protocol}/{port}]" for port in ports for protocol in PROTOCOLS]


def connection(
    profile: IkeProfile,
    peer: IkePeer,
    ends: tuple[str, str],
    children: Mapping[str, IkeChild],
    credentials: Credentials,
) -> dict[str, Any]:
    """Return a connection as charon is to have it; ``ends`` are our and the peer's address.

    Nothing is rekeyed by charon's own clock; :func:`rekeys_due` says when, as long as the
    association lasts. ``life_time`` bounds the keys. It is no backstop of the child: charon makes
    one anew that has come to its hard end, unless it was rekeyed, and no setting prevents that.
    """
    local: dict[str, Any] = {"id": profile.identity, "auth": PSK}
    remote: dict[str, Any] = {"id": peer.identity, "auth": PSK}
    if peer.by_certificate:
        local["auth"] = remote["auth"] = "pubkey"
        local["certs"] = [] if credentials.certificate is None else [credentials.certificate]
    if peer.auth == CERTIFICATE:
        remote["cacerts"] = list(credentials.authorities)
    elif peer.by_certificate:
        remote = {"id": "%any", "auth": peer.auth, "eap_id": peer.identity}
    return {
        "version": "2",
        "local_addrs": [ends[0]],
        "remote_addrs": [ends[1]],
        "proposals": list(profile.ike_proposals),
        "mobike": "no",  # selectors are of these addresses
        "keyingtries": "1",
        "dpd_delay": f"{profile.dead_peer}s",
        "local": local,
        "remote": remote,
        "children": {name: _child(profile, child) for name, child in children.items()},
    }


def _child(profile: IkeProfile, child: IkeChild) -> dict[str, Any]:
    return {
        "mode": "transport",
        "local_ts": selectors(child.local_address, child.local_ports),
        "remote_ts": selectors(child.peer_address, child.peer_ports),
        "esp_proposals": list(profile.esp_proposals),
        "replay_window": str(_REPLAY_WINDOW),
        "rekey_time": "0",
        "rand_time": "0",
        "life_time": f"{profile.life}s",
        "dpd_action": "clear",
    }


# --- comparison ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What differs between charon and the table.

    ``adopted`` have a child that is up; ``lost`` are established and have none; ``stray`` are
    numbers of our children, ``idle`` of our IKE SAs, and ``unloaded`` names of our connections,
    that belong to nobody. An IKE SA keeps the connection with which it began: whatever else comes
    up on it bears a name of then.
    """

    adopted: tuple[str, ...]
    lost: tuple[str, ...]
    stray: tuple[int, ...]
    idle: tuple[int, ...]
    unloaded: tuple[str, ...]


def compare(
    owner: int,
    associations: Iterable[Association],
    sas: Iterable[IkeSa],
    loaded: Iterable[str],
    busy: Collection[str] = (),
) -> Comparison:
    """Compare; ``loaded`` are the names of charon's connections, ``busy`` ids are passed over."""
    known = {a.id: a for a in associations if a.ipsec_ike is not None}
    sas = tuple(sas)
    up: dict[str, list[ChildSa]] = {}
    for ike in sas:
        for child in ike.children:
            name = association_of(owner, child.name)
            if name is not None and child.state == INSTALLED:
                up.setdefault(name, []).append(child)
    expected = {a.ipsec_ike.connection for a in known.values() if a.ipsec_ike is not None}
    return Comparison(
        adopted=tuple(i for i in known if i in up),
        lost=tuple(i for i, a in known.items() if must_be_up(a) and i not in up and i not in busy),
        stray=tuple(
            child.unique_id
            for i, children in up.items()
            if i not in known and i not in busy
            for child in children
        ),
        idle=tuple(
            sa.unique_id
            for sa in sas
            if sa.name.startswith(prefix(owner))
            and not any(_bears(owner, child, {*known, *busy}) for child in sa.children)
            and (sa.children or sa.name not in expected)
        ),
        unloaded=tuple(
            name for name in loaded if name.startswith(prefix(owner)) and name not in expected
        ),
    )


def _bears(owner: int, child: ChildSa, names: Collection[str]) -> bool:
    return association_of(owner, child.name) in names


def must_be_up(association: Association) -> bool:
    """Whether its child is expected in charon: it came up once, and was not ended by us."""
    return (
        association.phase is Phase.INSTALLED
        and association.state is not AssociationState.TEMPORARY
    )


def rekeys_due(
    children: Iterable[ChildSa],
    lasting_until: Mapping[str, float],
    owner: int,
    life: int,
    now: float,
) -> tuple[int, ...]:
    """Return the numbers of the children whose time runs out before their association's."""
    due = []
    for child in children:
        until = lasting_until.get(association_of(owner, child.name) or "")
        left = child.life_seconds
        if until is None or left is None or child.state != INSTALLED:
            continue
        if left < life * _REKEY_AT and until > now + left:
            due.append(child.unique_id)
    return tuple(due)
