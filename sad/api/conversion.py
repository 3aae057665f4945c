"""Between the wire's shapes and the daemon's values. Pure.

Counterparts: :mod:`sad.api.messages` on one side, :mod:`sad.model` on the other. Inwards,
addresses become canonical and keys become :class:`~netlink.secret.Secret`; outwards, instants
become microseconds of the real-time clock. No error here repeats a value.
"""

import binascii
import functools
import ipaddress
import socket
from typing import Final

from msgspec import Struct

from netlink.secret import Secret
from sad.api import cluster_conversion, control_conversion, messages, parameters
from sad.api.instants import microseconds
from sad.model.agreement import Refusal, Transaction
from sad.model.association import Association, AssociationState
from sad.model.encapsulation import UdpEncapsulation
from sad.model.endpoint import Role
from sad.model.errors import BadParameter, MechanismUnavailable
from sad.model.requests import (
    AttachRequest,
    ConfirmRequest,
    Flow,
    InstallRequest,
    ListFilter,
    OfferRequest,
    ReleaseRequest,
    ScreenRequest,
    VerifyRequest,
)
from sad.model.views import ReconcileReport, SaCounters, Status

IPSEC_3GPP: Final = "ipsec-3gpp"


@functools.lru_cache(maxsize=65536)
def _canonical(text: str) -> str | None:
    try:
        socket.inet_pton(socket.AF_INET, text)
    except (OSError, ValueError):
        pass  # no IPv4 address
    else:
        return text  # in the one form that there is: no sign, no leading zero
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    # a zone names an interface of this node: it is no part of a flow or a selector
    return None if getattr(address, "scope_id", None) else address.compressed


def canonical_address(text: str, parameter: str) -> str:
    """Return canonical text; raises :class:`BadParameter` that names ``parameter``."""
    address = _canonical(text)
    if address is None:
        raise BadParameter(
            parameter=parameter,
            reason="not an IP address",
            rule=None,
            hint="IPv4 as 192.0.2.1, IPv6 as 2001:db8::1 without brackets, prefix, port or zone",
        )
    return address


def _key(digits: str, parameter: str) -> Secret:
    """How long a key must be is a decision (``sad.core.validation``), not a matter of shape."""
    try:
        key = binascii.unhexlify(digits)
    except ValueError:  # its text names no digit, but its traceback would lead to the key
        key = None
    if key is None:
        raise BadParameter(
            parameter=parameter,
            reason="not hex digits",
            rule="T33-I",
            hint="give IK and CK as 32 hex digits, without 0x and without separators",
        )
    return Secret(key)


def _optional_key(digits: str | None, parameter: str) -> Secret | None:
    return None if digits is None else _key(digits, parameter)


def install_request(message: messages.InstallIn) -> InstallRequest:
    """Raises :class:`BadParameter`, :class:`MechanismUnavailable`."""
    wanted = message.ipsec3gpp
    if wanted is None and message.mechanism != IPSEC_3GPP:
        raise MechanismUnavailable(
            mechanism=message.mechanism,
            reason="the call has no parameters of a mechanism that is known here",
            hint=f"Install takes {IPSEC_3GPP} with its parameters in ipsec3gpp",
        )
    if wanted is None:
        raise BadParameter(
            parameter="ipsec3gpp",
            reason=f"missing for {IPSEC_3GPP}",
            rule=None,
            hint="give addresses, SPIs, ports, algorithms and keys of the set",
        )
    return InstallRequest(
        endpoint=message.endpoint,
        role=message.role or Role.EDGE,
        private_identity=message.registration.private_identity,
        public_identities=message.registration.public_identities,
        mechanism=message.mechanism,
        ue_address=canonical_address(wanted.ue_address, "ipsec3gpp.ueAddress"),
        pcscf_address=canonical_address(wanted.pcscf_address, "ipsec3gpp.pcscfAddress"),
        spi_uc=wanted.spi_uc,
        spi_us=wanted.spi_us,
        spi_pc=wanted.spi_pc,
        spi_ps=wanted.spi_ps,
        port_uc=wanted.port_uc,
        port_us=wanted.port_us,
        port_pc=wanted.port_pc,
        port_ps=wanted.port_ps,
        integrity_algorithm=wanted.integrity_algorithm,
        encryption_algorithm=wanted.encryption_algorithm,
        integrity_key=_key(wanted.integrity_key, "ipsec3gpp.integrityKey"),
        cipher_key=_optional_key(wanted.cipher_key, "ipsec3gpp.cipherKey"),
        lifetime_seconds=message.lifetime_seconds,
        encapsulation=_udp_encapsulation(wanted.udp_encapsulation),
    )


def _udp_encapsulation(given: messages.UdpEncapsulation | None) -> UdpEncapsulation | None:
    if given is None:
        return None
    return UdpEncapsulation(
        peer_address=canonical_address(
            given.peer_address, "ipsec3gpp.udpEncapsulation.peerAddress"
        ),
        peer_port=given.peer_port,
        local_port=given.local_port,
    )


def screen_request(message: messages.ScreenIn) -> ScreenRequest:
    """Raises :class:`BadParameter`."""
    return ScreenRequest(
        endpoint=message.endpoint,
        private_identity=message.registration.private_identity,
        public_identities=message.registration.public_identities,
        flow=flow(message.flow),
        security_client=message.security_client,
        via_address=_optional_address(message.via_address, "viaAddress"),
    )


def offer_request(message: messages.OfferIn) -> OfferRequest:
    """Raises :class:`BadParameter`."""
    wanted = message.transaction
    return OfferRequest(
        endpoint=message.endpoint,
        private_identity=message.registration.private_identity,
        public_identities=message.registration.public_identities,
        flow=flow(message.flow),
        transaction=Transaction(call_id=wanted.call_id, cseq=wanted.cseq, branch=wanted.branch),
        association_id=message.association,
        security_client=message.security_client,
        integrity_key=_optional_key(message.integrity_key, "integrityKey"),
        cipher_key=_optional_key(message.cipher_key, "cipherKey"),
        via_address=_optional_address(message.via_address, "viaAddress"),
    )


def verify_request(message: messages.VerifyIn) -> VerifyRequest:
    """Raises :class:`BadParameter`."""
    return VerifyRequest(
        flow=flow(message.flow),
        security_verify=message.security_verify,
        security_client=message.security_client,
    )


def attach_request(message: messages.AttachIn) -> AttachRequest:
    """Raises :class:`BadParameter`."""
    session = message.tls or messages.TlsSession()
    return AttachRequest(
        endpoint=message.endpoint,
        private_identity=message.registration.private_identity,
        public_identities=message.registration.public_identities,
        flow=flow(message.flow),
        association_id=message.association,
        security_verify=message.security_verify or (),
        security_client=message.security_client or (),
        identity=session.identity,
        credential=session.credential,
        version=session.version,
        cipher=session.cipher,
        lifetime_seconds=message.lifetime_seconds,
    )


def refusals(given: tuple[Refusal, ...]) -> tuple[messages.Refusal, ...]:
    """Show why offers were not taken."""
    return tuple(
        messages.Refusal(
            offer_index=r.offer_index,
            mechanism=r.mechanism,
            reason=r.reason,
            text=r.text,
            rule=r.rule,
        )
        for r in given
    )


def confirm_request(message: messages.ConfirmIn) -> ConfirmRequest:
    """Whether it can be confirmed is a decision."""
    return ConfirmRequest(
        association_id=message.id,
        expires_seconds=message.expires_seconds,
        private_identity=message.private_identity,
        public_identities=message.public_identities,
        note=message.note,
    )


def release_request(message: messages.ReleaseIn) -> ReleaseRequest:
    """Raises :class:`BadParameter`. That exactly one is given is for the backend to check."""
    return ReleaseRequest(
        association_id=message.id,
        private_identity=message.private_identity,
        peer_address=_optional_address(message.peer_address, "peerAddress"),
        linger_seconds=message.linger_seconds or 0,
        whole_registration=bool(message.whole_registration),
    )


def flow(message: messages.Flow) -> Flow:
    """Raises :class:`BadParameter`."""
    return Flow(
        peer_address=canonical_address(message.peer_address, "flow.peerAddress"),
        peer_port=message.peer_port,
        local_address=canonical_address(message.local_address, "flow.localAddress"),
        local_port=message.local_port,
    )


def list_filter(message: messages.ListIn, now: float) -> ListFilter:
    """Raises :class:`BadParameter`. ``now`` in seconds of CLOCK_BOOTTIME."""
    within = message.expires_within_seconds
    return ListFilter(
        endpoint=message.endpoint,
        private_identity=message.private_identity,
        peer_address=_optional_address(message.peer_address, "peerAddress"),
        mechanism=message.mechanism,
        state=message.state,
        deadline_until=None if within is None else now + within,
    )


def _optional_address(text: str | None, parameter: str) -> str | None:
    return None if text is None else canonical_address(text, parameter)


class View(Struct, frozen=True, gc=False):
    """One instant to look at associations from: BOOTTIME and real-time seconds, read together."""

    now: float
    realtime: float

    def association(self, association: Association) -> messages.Association:
        """Show one association; it has no keys to show."""
        ended = association.state is AssociationState.ENDED
        left = association.deadline_at - self.now
        sa_set, pair = association.ipsec_3gpp, association.ipsec_man
        tls, child = association.tls, association.ipsec_ike
        return messages.Association(
            id=association.id,
            endpoint=association.endpoint,
            role=association.path.role,
            mechanism=association.mechanism,
            state=association.state,
            end_reason=association.end_reason,
            registration=messages.Registration(
                private_identity=association.private_identity,
                public_identities=association.public_identities,
            ),
            ipsec3gpp=None if sa_set is None else parameters.ipsec_3gpp(sa_set),
            ipsec_man=None if pair is None else parameters.ipsec_man(pair),
            tls=None if tls is None else parameters.tls(tls),
            ipsec_ike=None if child is None else parameters.ipsec_ike(child),
            created_at=microseconds(association.created_at),
            confirmed_at=microseconds(association.confirmed_at),
            expires_at=microseconds(self.realtime + left),
            seconds_left=0 if ended else max(0, int(left)),
            note=association.note,
        )


def counters(counted: SaCounters) -> messages.SaCounters:
    """Show the counters of one SA."""
    return messages.SaCounters(
        name=counted.name,
        direction="in" if counted.inbound else "out",
        spi=counted.spi,
        bytes=counted.bytes,
        packets=counted.packets,
        replay_failures=counted.replay_failures,
        integrity_failures=counted.integrity_failures,
        last_used_at=microseconds(counted.last_used_at),
    )


def reconcile_report(report: ReconcileReport) -> messages.ReconcileReport:
    """Show what a comparison found."""
    return messages.ReconcileReport(
        at=microseconds(report.at),
        reason=report.reason,
        adopted=report.adopted,
        repaired=report.repaired,
        removed=report.removed,
        ended=report.ended,
    )


def status(daemon: Status) -> messages.GetStatusOut:
    """Show the daemon."""
    last = daemon.last_reconcile
    return messages.GetStatusOut(
        version=daemon.version,
        started_at=microseconds(daemon.started_at),
        state=daemon.state,
        endpoints=tuple(
            messages.EndpointStatus(
                name=e.name,
                profile=e.profile,
                required=e.security_required,
                security_server=e.security_server,
                addresses=e.addresses,
                server_port=e.server_port,
                client_ports=e.client_ports,
                algorithms=e.algorithms,
                unavailable=e.unavailable,
                associations=e.associations,
            )
            for e in daemon.endpoints
        ),
        associations=tuple(
            messages.StateCount(mechanism=m, state=s, count=n) for m, s, n in daemon.associations
        ),
        pools=control_conversion.pools(daemon.pools),
        kernel_counters=tuple(
            messages.KernelCounter(name=n, value=v) for n, v in daemon.kernel_counters
        ),
        last_reconcile=None if last is None else reconcile_report(last),
        last_problem=daemon.last_problem,
        last_problem_at=(
            None if daemon.last_problem_at is None else microseconds(daemon.last_problem_at)
        ),
        last_problem_hint=daemon.last_problem_hint,
        notices=tuple(
            messages.Notice(about=n.about, reason=n.reason, text=n.text, hint=n.hint)
            for n in daemon.notices
        ),
        ends_connections=daemon.ends_connections,
        cluster=cluster_conversion.status(daemon.cluster),
    )
