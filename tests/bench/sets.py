"""Sets to install: what the daemon's own planner makes of associations, for every contender."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from netlink.model import AddSa, Operation
from netlink.secret import Secret
from sad.core.planning import plan_install, plan_remove
from sad.model.algorithms import AlgorithmPair, derive_keys
from sad.model.association import Association
from tests.bench.baselines import Image
from tests.support.make import CK, IK, LAYOUT, LIFETIMES, association, sa_set
from tests.support.many_sets import address_of, boottime, strewn_reqids, strewn_spis

#: Encryption by the name that rows use.
CIPHERS: Final = {"null": "null", "cbc": "aes-cbc"}
INTEGRITY: Final = "hmac-sha-1-96"
LIFETIME: Final = 3600.0


def layout_of(cipher: str, count: int) -> str:
    """Say what is installed."""
    first = next(iter(Sets.of(1, cipher).installs))
    sas = sum(isinstance(operation, AddSa) for operation in first)
    return f"{sas} SAs, {len(first) - sas} policies, {INTEGRITY}/{CIPHERS[cipher]}; {count:,} sets"


def associations(
    count: int, cipher: str, *, first: int = 0, address: Sequence[str] | None = None
) -> list[Association]:
    """Return established associations, SPIs and reqids strewn as if drawn."""
    spis, reqids = strewn_spis(first, count), strewn_reqids(first, count)
    ends_at = boottime() + LIFETIME
    until = ends_at + LIFETIMES.longest_registration
    return [
        association(
            id=f"{first + n:032x}",
            private_identity=f"{first + n}@ims.example",
            sa_set=sa_set(
                ue_address=address_of(first + n) if address is None else address[n],
                encryption_algorithm=CIPHERS[cipher],
                spi_uc=spis[4 * n],
                spi_us=spis[4 * n + 1],
                spi_pc=spis[4 * n + 2],
                spi_ps=spis[4 * n + 3],
            ),
            reqid_in=reqids[3 * n],
            reqid_out=(reqids[3 * n + 1], reqids[3 * n + 2]),
            deadline_at=ends_at,
            policies_until=until,
        )
        for n in range(count)
    ]


@dataclass(frozen=True, slots=True)
class Sets:
    """So many sets: what installs each, and what takes it away."""

    installs: list[Sequence[Operation]]
    removals: list[Sequence[Operation]]

    @classmethod
    def of(cls, count: int, cipher: str, *, first: int = 0) -> Self:
        """Plan sets of so many registrations."""
        return cls.planned(associations(count, cipher, first=first), cipher)

    @classmethod
    def planned(cls, of: Sequence[Association], cipher: str) -> Self:
        """Plan these."""
        keys = derive_keys(AlgorithmPair(INTEGRITY, CIPHERS[cipher]), Secret(IK), Secret(CK))
        now = boottime()
        return cls(
            [plan_install((), one, keys, LAYOUT, LIFETIMES, now) for one in of],
            [plan_remove((one,), one, LAYOUT, LIFETIMES) for one in of],
        )

    def removal_image(self) -> Image:
        """Return the deletions as messages."""
        return Image.of(self.removals)
