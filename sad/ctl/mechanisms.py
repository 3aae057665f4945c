"""What each mechanism's association is made of, as labels and SAs. Pure.

The SAs of ``ipsec-3gpp`` are those of TS 33.203 7.1, named SA1 to SA4 whichever side this node is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sad.ctl.shapes import Association, Ipsec3gpp, IpsecMan
from sad.ctl.words import listing, socket_address


class Sa(NamedTuple):
    """One SA seen from this node; for ipsec-3gpp a row of the table of TS 33.203 7.1."""

    name: str
    direction: str
    spi: int
    source: str
    destination: str


def of_mechanism(association: Association) -> Iterator[tuple[str, str]]:
    """Return label and text of what is peculiar to the association's mechanism."""
    if s := association.get("ipsec3gpp"):
        yield from _algorithms(s["integrityAlgorithm"], s["encryptionAlgorithm"])
        if udp := s.get("udpEncapsulation"):
            nat = (
                socket_address(udp["peerAddress"], udp["peerPort"])
                if udp["peerPort"]
                else (f"{udp['peerAddress']}, port not learnt yet")
            )
            yield "through NAT", f"{nat} (ESP in UDP, tunnel mode)"
    if man := association.get("ipsecMan"):
        yield from _algorithms(man["integrityAlgorithm"], man["encryptionAlgorithm"])
        yield "key set", man["keySet"]
    if tls := association.get("tls"):
        yield "peer", socket_address(tls["peerAddress"], tls["peerPort"])
        yield "here", socket_address(tls["localAddress"], tls["localPort"])
        yield "connection", "attached" if tls["attached"] else "no request over it was seen yet"
        yield "peer's identity", tls.get("identity") or "not proven by a certificate"
        yield "credential", tls.get("credential") or "of the SIP server"
        session = " ".join(filter(None, (tls.get("version"), tls.get("cipher"))))
        if session:
            yield "session", session
    if ike := association.get("ipsecIke"):
        yield "peer", _ends(ike["peerAddress"], ike["peerPorts"])
        yield "here", _ends(ike["localAddress"], ike["localPorts"])
        yield "CHILD_SA", f"{ike['child']} of connection {ike['connection']}"


def sas_of(association: Association) -> tuple[Sa, ...]:
    """Return the SAs that the association itself tells of."""
    if s := association.get("ipsec3gpp"):
        return _set_of_four(s, association["role"])
    if man := association.get("ipsecMan"):
        return _pair(man)
    return ()


def _set_of_four(s: Ipsec3gpp, role: str) -> tuple[Sa, ...]:
    ue_client = f"{socket_address(s['ueAddress'], s['portUc'])} (UE client)"
    ue_server = f"{socket_address(s['ueAddress'], s['portUs'])} (UE server)"
    pcscf_client = f"{socket_address(s['pcscfAddress'], s['portPc'])} (P-CSCF client)"
    pcscf_server = f"{socket_address(s['pcscfAddress'], s['portPs'])} (P-CSCF server)"
    to_pcscf, to_ue = ("in", "out") if role == "edge" else ("out", "in")
    return (
        Sa("SA1", to_pcscf, s["spiPs"], ue_client, pcscf_server),
        Sa("SA2", to_ue, s["spiUc"], pcscf_server, ue_client),
        Sa("SA3", to_ue, s["spiUs"], pcscf_client, ue_server),
        Sa("SA4", to_pcscf, s["spiPc"], ue_server, pcscf_client),
    )


def _pair(man: IpsecMan) -> tuple[Sa, ...]:
    here = _ends(man["localAddress"], man["localPorts"])
    there = _ends(man["peerAddress"], man["peerPorts"])
    return (
        Sa("inbound SA", "in", man["spiIn"], there, here),
        Sa("outbound SA", "out", man["spiOut"], here, there),
    )


def _ends(address: str, ports: Iterable[int]) -> str:
    return listing([socket_address(address, port) for port in ports]) if ports else address


def _algorithms(integrity: str, encryption: str) -> Iterator[tuple[str, str]]:
    note = " (integrity only, content readable)" if encryption == "null" else ""
    yield "integrity", integrity
    yield "encryption", encryption + note
