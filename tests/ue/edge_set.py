"""An SA set as the P-CSCF double of :mod:`tests.ue.pcscf` keeps it, and how one is made.

Pure but for the drawing of SPIs. The counterpart of :mod:`tests.ue.sets`.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from tests.ue.flow import HostPort
from tests.ue.headers import SipError
from tests.ue.security import MECHANISM, Offer, SaSet, Transforms, parse_server_list


@dataclass(slots=True, eq=False)
class EdgeSet:
    """One SA set of one registration; ``state``: temporary, established, in use, old."""

    sa_set: SaSet
    private_identity: str
    security_client: str
    security_server: str
    state: str = "temporary"

    @property
    def registration(self) -> tuple[str, int]:
        return (self.sa_set.ue_address, self.sa_set.port_us)


def choose_offer(
    rows: Iterable[str], algorithms: tuple[tuple[str, str], ...]
) -> tuple[tuple[str, str], Offer | None]:
    """Take the first own pair that the UE offered (T33-7.2-a); no Offer if there is none."""
    offers = {
        (m.value("alg", ""), m.value("ealg", "null")): dict(m.params)
        for m in parse_server_list(rows)
        if m.name == MECHANISM
    }
    for pair in algorithms:
        if (params := offers.get(pair)) is not None:
            try:
                spi_c, spi_s, port_c, port_s = (
                    int(params[name] or "") for name in ("spi-c", "spi-s", "port-c", "port-s")
                )
            except (KeyError, ValueError) as error:
                raise SipError("Security-Client without SPIs and ports") from error
            offer = Offer(
                spi_c=spi_c, spi_s=spi_s, port_c=port_c, port_s=port_s, algorithms=(pair,)
            )
            return pair, offer
    return ("", ""), None


def new_edge_set(
    offer: Offer,
    *,
    ue_address: str,
    pcscf: HostPort,
    port_pc: int,
    transforms: Transforms,
    private_identity: str,
    security_client: str,
) -> EdgeSet:
    """Make the P-CSCF's part of a set for the UE's ``offer``."""
    spi_pc, spi_ps = (0x10000 + secrets.randbelow(0xFFFE0000) for _ in range(2))
    alg, ealg = offer.algorithms[0]
    sa_set = SaSet(
        ue_address=ue_address,
        pcscf_address=pcscf.host,
        spi_uc=offer.spi_c,
        spi_us=offer.spi_s,
        spi_pc=spi_pc,
        spi_ps=spi_ps,
        port_uc=offer.port_c,
        port_us=offer.port_s,
        port_pc=port_pc,
        port_ps=pcscf.port,
        alg=alg,
        ealg=ealg,
        transforms=transforms,
    )
    server = (
        f"{MECHANISM};q=0.1;alg={alg};ealg={ealg};prot=esp;mod=trans;spi-c={spi_pc};"
        f"spi-s={spi_ps};port-c={port_pc};port-s={pcscf.port}"
    )
    return EdgeSet(sa_set, private_identity, security_client, server)
