"""The Security-Server list a server of profile ``ims`` sends in its 401.

Mechanisms and their order are the policy's and never depend on the user agent's list
(R3329-2.3.1-g); only SPIs and ports are of this one SA set (GAP-6). So keep the text that was sent
and hand it to :func:`.comparison.find_difference` when Security-Verify comes back.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Tuple

from sip_hooks.secagree.errors import PolicyError
from sip_hooks.secagree.ipsec_3gpp import (
    FIRST_FREE_SPI,
    MAXIMUM_PORT,
    MAXIMUM_SPI,
    SIP_PORTS,
    Ipsec3gppParameters,
    write_ipsec_3gpp,
)
from sip_hooks.secagree.mechanism import IPSEC_3GPP, Parameter, SecMechanism
from sip_hooks.secagree.selection import ServerPolicy

_Parameters = Tuple[Parameter, ...]


def build_security_server(
    policy: ServerPolicy, *, spi_pc: int, spi_ps: int, port_pc: int, port_ps: int
) -> Tuple[SecMechanism, ...]:
    """Return one ipsec-3gpp element per algorithm pair of the policy, most preferred first.

    More than one element carry distinct q values in falling order (R3329-2.2-g, INTEROP-8); a
    single one carries none. Raises :class:`PolicyError` for SPIs outside 256 to 2**32 - 1
    (IPS-1), ports outside 1 to 65535 or 5060 and 5061 (T33-7.1-e), and equal ones (T33-7.1-f).
    That the SPIs differ from the user agent's (T33-7.1-h) is up to whoever allocates them.
    """
    check_own_values((spi_pc, spi_ps), (port_pc, port_ps))
    own = (
        ("spi-c", str(spi_pc), False),
        ("spi-s", str(spi_ps), False),
        ("port-c", str(port_pc), False),
        ("port-s", str(port_ps), False),
    )
    # _make skips the checks of SecMechanism(): _settled has made them, and numbers need none
    return tuple(
        [
            SecMechanism._make((IPSEC_3GPP, (*before, *own, *behind)))
            for before, behind in _settled(policy)
        ]
    )


@lru_cache(maxsize=256)
def _settled(policy: ServerPolicy) -> Tuple[Tuple[_Parameters, _Parameters], ...]:
    """Return of each element what the policy says before the numbers of a set, and behind them."""
    count = len(policy.algorithms)
    # Annex H allows eight pairs, in tenths 0.8 down to 0.1; with extensions there are eleven
    step = 100 if count <= 10 else 50
    result = []
    for rank, (integrity, encryption) in enumerate(policy.algorithms):
        parameters = Ipsec3gppParameters(alg=integrity, ealg=encryption, mod=policy.mode)
        preference = (count - rank) * step if count > 1 else None
        written = write_ipsec_3gpp(parameters, preference).parameters
        result.append((written[:-2], written[-2:]))  # alg and ealg stand last
    return tuple(result)


def check_own_values(spis: Tuple[int, int], ports: Tuple[int, int]) -> None:
    """Raise :class:`PolicyError` for SPIs and ports that this side must never send."""
    hint = "correct the endpoint's spi range and ports"
    for spi in spis:
        if not FIRST_FREE_SPI <= spi <= MAXIMUM_SPI:
            raise PolicyError(f"SPI {spi} must not be allocated", "IPS-1", hint)
    for port in ports:
        if not 0 < port <= MAXIMUM_PORT or port in SIP_PORTS:
            raise PolicyError(f"port {port} cannot be a protected port", "T33-7.1-e", hint)
    if spis[0] == spis[1] or ports[0] == ports[1]:
        raise PolicyError("client and server side must differ", "T33-7.1-f", hint)
