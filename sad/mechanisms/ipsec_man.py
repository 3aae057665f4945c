"""``ipsec-man``: manually keyed pairs of SAs in the kernel's SAD and SPD (RFC 3329 2.4).

End-of-life source: the validity of the keys, or the registration, whichever comes first
(RFC 3329 2.5); :mod:`sad.runtime.manual_keys` keeps the time.
"""

from collections.abc import Sequence

from sad.core.rebuilding import plan_pair_rebuild, start_of
from sad.mechanisms.xfrm import XfrmMechanism
from sad.model.association import Association
from sad.model.key_record import KeyRecord, PairRecord
from sad.model.requests import Keys, PairKeys


class IpsecMan(XfrmMechanism):
    """The driver: each direction has keys of its own, and no replay window (IPS-2)."""

    name = "ipsec-man"

    async def install(
        self, siblings: Sequence[Association], new: Association, request: Keys
    ) -> None:
        """Add both SAs and the policies, all or nothing. Raises as :meth:`add`."""
        assert isinstance(request, PairKeys)
        await self.add(
            siblings,
            new,
            request.inbound,
            outbound_keys=request.outbound,
            outbound_start=start_of(request.leaps) if request.leaps else None,
        )

    async def rebuild(self, association: Association, record: KeyRecord) -> tuple[str, ...]:
        """Add what is missing of the two; return its names. Raises Lost."""
        assert isinstance(record, PairRecord)
        return await self.add_again(
            association, lambda missing: plan_pair_rebuild(missing, record)
        )
