"""Is an ``Install`` of ``ipsec-3gpp`` legal? Each check stands beside its clause.

``Offer`` makes an install of what was chosen, so the same checks are its own.
"""

import functools
import ipaddress
from collections.abc import Set as AbstractSet

from netlink.model import family_of, packed_address
from netlink.secret import Secret
from sad.core.nat import check_behind_nat
from sad.model.algorithms import AKA_KEY_BYTES, AlgorithmPair
from sad.model.encapsulation import UdpEncapsulation
from sad.model.endpoint import Endpoint, Role
from sad.model.errors import (
    AlgorithmUnavailable,
    BadParameter,
    NotPermitted,
)
from sad.model.requests import InstallRequest
from sad.model.rules import Lifetimes

_SIP_PORTS = frozenset({5060, 5061})
_HIGHEST_SPI = 0xFFFF_FFFF


def check_request(
    request: InstallRequest,
    endpoint: Endpoint,
    lifetimes: Lifetimes,
    own_addresses: AbstractSet[str],
    missing_algorithms: AbstractSet[str],
) -> None:
    """Raise the refusal of a request that is illegal whatever else lives on the node.

    ``own_addresses`` are this node's; ``missing_algorithms`` are ``alg/ealg`` pairs that this
    kernel lacks.
    """
    if request.role not in endpoint.roles:
        raise NotPermitted(
            reason=f"role {request.role} is off on endpoint {endpoint.name}",
            hint=f'add "{request.role}" to roles of the endpoint if that is meant',
        )
    _check_identity(request)
    _check_addresses(request, endpoint, own_addresses)
    _check_spis(request, endpoint)
    _check_ports(request, endpoint)
    _check_algorithms(request, endpoint, missing_algorithms)
    check_keys(
        AlgorithmPair(request.integrity_algorithm, request.encryption_algorithm),
        request.integrity_key,
        request.cipher_key,
        "ipsec3gpp.",
    )
    if request.lifetime_seconds is not None and not (
        1 <= request.lifetime_seconds <= lifetimes.longest_registration
    ):
        raise BadParameter(
            parameter="lifetimeSeconds",
            reason="out of range",
            rule=None,
            hint=f"1 to {lifetimes.longest_registration:.0f} "
            "(lifetimes.longest_registration_seconds)",
        )


def _check_identity(request: InstallRequest) -> None:
    if not request.private_identity:
        raise BadParameter(
            parameter="registration.privateIdentity",
            reason="empty",
            rule="T33-7.1-p1",
            hint="give the private identity (IMPI) or the AoR of the registration",
        )


def _check_addresses(
    request: InstallRequest, endpoint: Endpoint, own_addresses: AbstractSet[str]
) -> None:
    ue, pcscf = (
        (request.ue_address, "ipsec3gpp.ueAddress"),
        (request.pcscf_address, "ipsec3gpp.pcscfAddress"),
    )
    local, peer = (pcscf, ue) if request.role is Role.EDGE else (ue, pcscf)
    check_addresses(local, peer, endpoint, own_addresses)
    if request.encapsulation is not None:
        _check_encapsulation(request, request.encapsulation, endpoint, own_addresses)


def _check_encapsulation(
    request: InstallRequest,
    udp: UdpEncapsulation,
    endpoint: Endpoint,
    own_addresses: AbstractSet[str],
) -> None:
    name = "ipsec3gpp.udpEncapsulation"
    edge = request.role is Role.EDGE
    if udp.local_port != endpoint.nat_port or not endpoint.nat_port:
        raise BadParameter(
            parameter=f"{name}.localPort",
            reason=f"not the nat_port of endpoint {endpoint.name}",
            rule="T33-M-b",
            hint="set nat_traversal on the endpoint, and give its nat_port (RFC 3948: 4500)",
        )
    if not 0 <= udp.peer_port <= 65535:
        raise BadParameter(
            parameter=f"{name}.peerPort",
            reason="a port is 1 to 65535, or 0 until the NAT's is known",
            rule="T33-M-b",
            hint="give 0: it is learnt from the first packet",
        )
    local = request.pcscf_address if edge else request.ue_address
    check_addresses(
        (local, "ipsec3gpp.pcscfAddress" if edge else "ipsec3gpp.ueAddress"),
        (udp.peer_address, f"{name}.peerAddress"),
        endpoint,
        own_addresses,
    )
    if edge:
        check_behind_nat(request.ue_address, "ipsec3gpp.ueAddress", endpoint)
    elif udp.peer_address != request.pcscf_address:
        raise BadParameter(
            parameter=f"{name}.peerAddress",
            reason="not the P-CSCF's",
            rule="T33-M-c",
            hint="a P-CSCF is behind no NAT: its address is the same inside and outside",
        )


def check_addresses(
    local: tuple[str, str],
    peer: tuple[str, str],
    endpoint: Endpoint,
    own_addresses: AbstractSet[str],
) -> None:
    """Raise BadParameter unless two (address, parameter) can be the ends of an SA."""
    local_address, local_name = local
    peer_address, peer_name = peer
    if local_address not in endpoint.addresses:
        raise BadParameter(
            parameter=local_name,
            reason=f"not an address of endpoint {endpoint.name}",
            rule=None,
            hint=f"the endpoint has {', '.join(endpoint.addresses)}",
        )
    if family_of(local_address) != family_of(peer_address):
        raise BadParameter(
            parameter=peer_name,
            reason="the two addresses are of different IP versions",
            rule="T33-7.1-b",
            hint="give both as IPv4 or both as IPv6",
        )
    if _is_nobodys(peer_address):
        raise BadParameter(
            parameter=peer_name,
            reason="a loopback, unspecified, multicast or broadcast address is no peer",
            rule="T33-7.1-c",
            hint="give the source address of the IP packet that carried the REGISTER",
        )
    if peer_address in own_addresses or peer_address in endpoint.addresses:
        raise BadParameter(
            parameter=peer_name,
            reason="this node's own address is no peer",
            rule="T33-7.1-c",
            hint="give the source address of the IP packet that carried the REGISTER",
        )


@functools.lru_cache(maxsize=65536)
def _is_nobodys(address: str) -> bool:
    """Whether an address is that of no single node elsewhere."""
    if ":" in address:
        parsed = ipaddress.IPv6Address(address)
        return parsed.is_loopback or parsed.is_unspecified or parsed.is_multicast
    first = packed_address(address)[0]
    return first == 127 or 224 <= first < 240 or address in ("0.0.0.0", "255.255.255.255")  # noqa: S104 - no bind


def _check_spis(request: InstallRequest, endpoint: Endpoint) -> None:
    given = {
        name: spi
        for name, spi in (
            ("spiUc", request.spi_uc),
            ("spiUs", request.spi_us),
            ("spiPc", request.spi_pc),
            ("spiPs", request.spi_ps),
        )
        if spi is not None
    }
    required = ("spiUc", "spiUs") if request.role is Role.EDGE else ("spiPc", "spiPs")
    for name in required:
        if name not in given:
            raise BadParameter(
                parameter=f"ipsec3gpp.{name}",
                reason="the peer's SPI is missing",
                rule="T33-H-f",
                hint="take it from the peer's header (spi-c and spi-s)",
            )
    seen: dict[int, str] = {}
    for name, spi in given.items():
        if not 1 <= spi <= _HIGHEST_SPI:  # RFC 4303 2.1: 0 is never sent
            raise BadParameter(
                parameter=f"ipsec3gpp.{name}",
                reason="an SPI is 1 to 4294967295",
                rule="IPS-1",
                hint="refuse this offer",
            )
        reserved_ok = endpoint.accept_reserved_spi and name in required
        if spi < 256 and not reserved_ok:  # RFC 4303 2.1: 1 to 255 are IANA's
            raise BadParameter(
                parameter=f"ipsec3gpp.{name}",
                reason="SPIs 1 to 255 are reserved by IANA",
                rule="IPS-1",
                hint="refuse this offer, or set accept_reserved_spi on the endpoint for a peer "
                "that uses them",
            )
        if spi in seen:
            raise BadParameter(
                parameter=f"ipsec3gpp.{name}",
                reason=f"equal to {seen[spi]}",
                rule="T33-7.1-h" if (name in required) != (seen[spi] in required) else "T33-7.1-f",
                hint="the four SPIs of a set differ",
            )
        seen[spi] = name


def _check_ports(request: InstallRequest, endpoint: Endpoint) -> None:
    edge = request.role is Role.EDGE
    ports = {
        "portUc": request.port_uc,
        "portUs": request.port_us,
        "portPc": request.port_pc,
        "portPs": request.port_ps,
    }
    peer = ("portUc", "portUs") if edge else ("portPc", "portPs")
    own_client, own_server = ("portPc", "portPs") if edge else ("portUc", "portUs")
    for name in peer:
        port = ports[name]
        if port is None:
            raise BadParameter(
                parameter=f"ipsec3gpp.{name}",
                reason="the peer's port is missing",
                rule="T33-H-f",
                hint="take it from the peer's header (port-c and port-s)",
            )
        if not 1 <= port <= 65535:
            raise BadParameter(
                parameter=f"ipsec3gpp.{name}",
                reason="a port is 1 to 65535",
                rule="T33-7.1-b",
                hint="refuse this offer",
            )
        if port in _SIP_PORTS and not endpoint.accept_sip_port:
            raise BadParameter(
                parameter=f"ipsec3gpp.{name}",
                reason="protected ports differ from 5060 and 5061",
                rule="T33-7.1-e",
                hint="refuse this offer, or set accept_sip_port on the endpoint for such a phone",
            )
    if ports[peer[0]] == ports[peer[1]]:
        raise BadParameter(
            parameter=f"ipsec3gpp.{peer[1]}",
            reason=f"equal to {peer[0]}",
            rule="T33-7.1-f",
            hint="client and server port of one side differ",
        )
    client, server = ports[own_client], ports[own_server]
    if client is not None and client not in endpoint.client_ports:
        raise BadParameter(
            parameter=f"ipsec3gpp.{own_client}",
            reason=f"outside endpoint {endpoint.name}",
            rule=None,
            hint=f"its client ports are {', '.join(map(str, endpoint.client_ports))}",
        )
    if server is not None and server != endpoint.server_port:
        raise BadParameter(
            parameter=f"ipsec3gpp.{own_server}",
            reason=f"outside endpoint {endpoint.name}",
            rule=None,
            hint=f"its server port is {endpoint.server_port}",
        )


def _check_algorithms(
    request: InstallRequest, endpoint: Endpoint, missing_algorithms: AbstractSet[str]
) -> None:
    pair = AlgorithmPair(request.integrity_algorithm, request.encryption_algorithm)
    if pair.illegal:
        raise AlgorithmUnavailable(
            algorithm=str(pair),
            reason="the two must not be used together (T33-H-c)",
            hint="null goes with aes-gcm only, aes-gcm with null only, aes-gmac with null only",
        )
    if not pair.known:
        raise AlgorithmUnavailable(
            algorithm=str(pair),
            reason="unknown to this version",
            hint="this version knows hmac-sha-1-96, hmac-sha-256-128 and hmac-md5-96 with null, "
            "aes-cbc and des-ede3-cbc, aes-gmac with null, and null with aes-gcm",
        )
    if (pair.integrity, pair.encryption) not in endpoint.algorithms:
        raise AlgorithmUnavailable(
            algorithm=str(pair),
            reason=f"not among the algorithms of endpoint {endpoint.name}",
            hint="add it to algorithms of the endpoint (withdrawn ones also need "
            "accept_withdrawn_algorithms, extensions accept_extension_algorithms)",
        )
    if str(pair) in missing_algorithms:
        raise AlgorithmUnavailable(
            algorithm=str(pair),
            reason="this kernel lacks it",
            hint=f"modprobe {pair.modules} and restart sad, or remove it from the endpoint",
        )


def check_keys(
    pair: AlgorithmPair, integrity_key: Secret, cipher_key: Secret | None, prefix: str
) -> None:
    """Raise BadParameter unless the AKA keys fit the pair; ``prefix`` leads their names."""
    if len(integrity_key) != AKA_KEY_BYTES:
        raise BadParameter(
            parameter=f"{prefix}integrityKey",
            reason=f"IK has {AKA_KEY_BYTES} bytes, not {len(integrity_key)}",
            rule="T33-I",
            hint="give IK in 32 hex digits; the ESP key is derived here",
        )
    if cipher_key is None:
        if pair.needs_cipher_key:
            raise BadParameter(
                parameter=f"{prefix}cipherKey",
                reason=f"{pair} needs CK",
                rule="T33-I",
                hint="give CK in 32 hex digits",
            )
    elif len(cipher_key) != AKA_KEY_BYTES:
        raise BadParameter(
            parameter=f"{prefix}cipherKey",
            reason=f"CK has {AKA_KEY_BYTES} bytes, not {len(cipher_key)}",
            rule="T33-I",
            hint="give CK in 32 hex digits; the ESP key is derived here",
        )
