"""``ipsec-3gpp``: SA sets in the kernel's SAD and SPD (RFC 3329 Appendix A, TS 33.203).

End-of-life source: the registration.
"""

from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet

from sad.core.agreement import Choice, security_server
from sad.core.allocation import RandBelow
from sad.core.decision import Circumstances, decide_install
from sad.core.nat import UserAgentEnd
from sad.core.offer import install_of
from sad.core.rebuilding import plan_rebuild
from sad.core.table import AssociationTable
from sad.mechanisms.xfrm import XfrmMechanism
from sad.model.algorithms import AlgorithmPair, derive_keys
from sad.model.association import Association
from sad.model.cluster import CounterSnapshot
from sad.model.endpoint import Endpoint
from sad.model.key_record import KeyRecord
from sad.model.requests import InstallRequest, Keys, OfferRequest


class Ipsec3gpp(XfrmMechanism):
    """The driver: IK and CK become the keys of SA1 to SA4 (TS 33.203 Annex I)."""

    name = "ipsec-3gpp"

    def decide_install(
        self,
        request: InstallRequest,
        endpoint: Endpoint,
        table: AssociationTable,
        around: Circumstances,
        randbelow: RandBelow,
        *,
        leaving: Collection[str] = (),
        came_back: bool = False,
    ) -> Association:
        """Return the association to install, or raise the refusal. Pure."""
        return decide_install(
            request, endpoint, table, around, randbelow, leaving=leaving, came_back=came_back
        )

    def install_of(
        self, request: OfferRequest, choice: Choice, endpoint: Endpoint, end: UserAgentEnd
    ) -> InstallRequest:
        """Return the install of what was chosen from an offered list. Pure."""
        return install_of(request, choice, endpoint, end)

    def security_server(
        self, association: Association, endpoint: Endpoint, missing: AbstractSet[str]
    ) -> str:
        """Return the value of Security-Server for a decided association. Pure."""
        return security_server(association.sa_set, endpoint, missing)

    async def install(
        self, siblings: Sequence[Association], new: Association, request: Keys
    ) -> None:
        """Add SA1 to SA4 and the policies, all or nothing. Raises as :meth:`add`."""
        assert request.integrity_key is not None  # checked when it was decided
        keys = derive_keys(_pair_of(new), request.integrity_key, request.cipher_key)
        await self.add(siblings, new, keys)

    async def restore(
        self,
        siblings: Sequence[Association],
        new: Association,
        record: KeyRecord,
        counters: CounterSnapshot,
    ) -> None:
        """Add SA1 to SA4 as they go on from another node, and the policies, all or nothing.

        Raises as :meth:`add`.
        """
        keys = derive_keys(_pair_of(new), record.integrity_key, record.cipher_key)
        await self.add_going_on(siblings, new, keys, counters)

    async def rebuild(self, association: Association, record: KeyRecord) -> tuple[str, ...]:
        """Add what is missing of SA1 to SA4; return its names. Raises Lost."""
        keys = derive_keys(_pair_of(association), record.integrity_key, record.cipher_key)
        try:
            return await self.add_again(
                association, lambda missing: plan_rebuild(missing, association, record, keys)
            )
        finally:
            keys.integrity.wipe()
            keys.encryption.wipe()


def _pair_of(association: Association) -> AlgorithmPair:
    s = association.sa_set
    return AlgorithmPair(s.integrity_algorithm, s.encryption_algorithm)
