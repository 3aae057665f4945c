"""A server's list of mechanisms: static, checked once at start (RFC 3329 sections 2.1 and 2.3.1).

One list for each endpoint. Nothing that a client says changes it (R3329-2.1-c, R3329-2.3.1-g);
only an ipsec-3gpp element gets the SPIs and ports of one user agent's SA set (GAP-6), and then
what was sent is what Security-Verify is compared with.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, List, Optional, Tuple

from sip_hooks.secagree.digest import QOPS, is_md5_family
from sip_hooks.secagree.errors import ParameterError, PolicyError
from sip_hooks.secagree.grammar import shorten
from sip_hooks.secagree.headers import parse_header
from sip_hooks.secagree.ipsec_3gpp import (
    EXTENSION_ALGORITHMS,
    WITHDRAWN_ALGORITHMS,
    AlgorithmPair,
    is_legal_pair,
    read_ipsec_3gpp,
)
from sip_hooks.secagree.mechanism import (
    DIGEST,
    IPSEC_3GPP,
    MECHANISMS,
    Parameter,
    SecMechanism,
    part_media_plane,
    repeated_preference,
)
from sip_hooks.secagree.security_server import check_own_values
from sip_hooks.secagree.strength import Assurances, require_strength

_NUMBERS: Final = ("spi-c", "spi-s", "port-c", "port-s")


@dataclass(frozen=True)
class ServerList:
    """The static list of one endpoint, as it goes into Security-Server.

    ``mechanisms`` in the order to send; ipsec-3gpp elements come without SPIs and ports.
    ``assurances`` say what the node promises of them. Raises :class:`PolicyError` for a list that
    must not start: empty, q missing or equal (R3329-2.2-g, INTEROP-8), a mechanism that is not
    known, algorithms that cannot be used, a member too weak for the rest (R3329-5-a).
    """

    mechanisms: Tuple[SecMechanism, ...]
    assurances: Assurances = field(default_factory=Assurances)
    accept_withdrawn: bool = False
    accept_extensions: bool = False

    def __post_init__(self) -> None:
        signalling, _ = part_media_plane(self.mechanisms)
        if not signalling:
            raise PolicyError("the list is empty", "R3329-2.2-a", "list a mechanism, e.g. tls")
        for mechanism in signalling:
            self._check(mechanism)
        if len(signalling) > 1 and any(m.preference is None for m in signalling):
            hint = "give each mechanism a q of its own"
            raise PolicyError("a mechanism has no q", "INTEROP-8", hint)
        equal = repeated_preference(signalling)
        if equal is not None:
            hint = "give each mechanism a q of its own"
            raise PolicyError(f"two mechanisms have q {equal / 1000:g}", "R3329-2.2-g", hint)
        require_strength(self.mechanisms, self.assurances)

    @property
    def is_dynamic(self) -> bool:
        """Whether SPIs and ports must be filled in for each user agent (GAP-6)."""
        return any(m.name.lower() == IPSEC_3GPP for m in self.mechanisms)

    def fill(
        self, *, spi_pc: int, spi_ps: int, port_pc: int, port_ps: int
    ) -> Tuple[SecMechanism, ...]:
        """Return the list for one SA set: keep it, it is what must come back (GAP-6).

        Raises :class:`PolicyError` for values that must never be sent, as
        :func:`.security_server.build_security_server` does.
        """
        check_own_values((spi_pc, spi_ps), (port_pc, port_ps))
        values = (str(spi_pc), str(spi_ps), str(port_pc), str(port_ps))
        numbers: List[Parameter] = [
            (name, value, False)
            for name, value in zip(_NUMBERS, values)  # noqa: B905 - 3.9
        ]
        return tuple(
            SecMechanism(m.name, (*m.parameters, *numbers)) if m.name.lower() == IPSEC_3GPP else m
            for m in self.mechanisms
        )

    def _check(self, mechanism: SecMechanism) -> None:
        name = mechanism.name.lower()
        if name not in MECHANISMS:
            known = ", ".join(sorted(MECHANISMS))
            text = f"the mechanism {shorten(mechanism.name)} is not known"
            raise PolicyError(text, "R3329-2.2-f", f"known are {known}")
        if mechanism.repeated_parameter is not None:
            text = f"{name}: {shorten(mechanism.repeated_parameter)} stands twice"
            raise PolicyError(text, "RFC 3261 7.3.1", "write it once")
        if name == DIGEST:
            _check_digest(mechanism)
        if name == IPSEC_3GPP:
            self._check_ipsec_3gpp(mechanism)

    def _check_ipsec_3gpp(self, mechanism: SecMechanism) -> None:
        hint = "write e.g. ipsec-3gpp;alg=hmac-sha-1-96;ealg=aes-cbc;q=0.2"
        try:
            given = read_ipsec_3gpp(mechanism)
        except ParameterError as error:
            raise PolicyError(error.text, error.rule, hint) from None
        if any(number is not None for number in given[4:]):
            text = "SPIs and ports are of one SA set and stand in no static list"
            raise PolicyError(text, "GAP-6", hint)
        if not is_legal_pair(given.algorithms):
            text = f"{given.alg} with {given.ealg} must not be used"
            raise PolicyError(text, "T33-H-c", hint)
        if (given.prot, given.mod) != ("esp", "trans"):
            text = f"prot={shorten(given.prot)}, mod={shorten(given.mod)}: only esp and trans"
            raise PolicyError(text, "T33-H-d", hint)
        if not self.accept_withdrawn and not WITHDRAWN_ALGORITHMS.isdisjoint(given.algorithms):
            text = f"{given.alg} with {given.ealg} is withdrawn"
            raise PolicyError(text, "T33-H-b", "set accept_withdrawn if phones need it")
        if not self.accept_extensions and not EXTENSION_ALGORITHMS.isdisjoint(given.algorithms):
            text = f"{given.alg} with {given.ealg} is of no 3GPP release"
            hint = "set accept_extensions if your user agents know it by this name"
            raise PolicyError(text, "T33-H-a", hint)

    def algorithms(self) -> Tuple[AlgorithmPair, ...]:
        """Return the pairs of its ipsec-3gpp elements, most preferred first."""
        elements = [m for m in self.mechanisms if m.name.lower() == IPSEC_3GPP]
        elements.sort(key=lambda m: -(m.preference or 0))
        return tuple(read_ipsec_3gpp(m).algorithms for m in elements)


def read_server_list(
    text: str,
    assurances: Optional[Assurances] = None,
    *,
    accept_withdrawn: bool = False,
    accept_extensions: bool = False,
) -> ServerList:
    """Return the list that a setting writes as a header's value, e.g. ``tls;q=0.2, digest;q=0.1``.

    Raises :class:`HeaderError` and :class:`PolicyError`.
    """
    return ServerList(
        parse_header(text), assurances or Assurances(), accept_withdrawn, accept_extensions
    )


def _check_digest(mechanism: SecMechanism) -> None:
    algorithm = mechanism.get("d-alg")
    if algorithm is not None and not is_md5_family(algorithm[1] or ""):
        text = f"d-ver has no room for the digests of {shorten(algorithm[1] or '')}"
        raise PolicyError(text, "GAP-4", "use d-alg=MD5, or leave digest out of the list")
    qop = mechanism.get("d-qop")
    if qop is not None and (qop[1] or "").lower() not in QOPS:
        text = f"{shorten(qop[1] or '')} is no qop that d-ver is defined for"
        raise PolicyError(text, "R3329-2.2-h", "use d-qop=auth or d-qop=auth-int")
    if mechanism.get("d-ver") is not None:
        text = "d-ver is the client's"
        raise PolicyError(text, "R3329-2.4-digest-b", "leave d-ver out of the list")
