"""What an SA set can be made again from. Never in the journal: it holds keys."""

from dataclasses import dataclass

from netlink.model import SaKeys
from netlink.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """IK and CK of a set (CK may be None if the pair does not need it), and how it must go on.

    ``leaps`` counts the leaps of its outbound sequence numbers (:mod:`sad.core.rebuilding`).
    ``received`` are sequence numbers of the inbound SAs, in the order of ``local_spis``, up to
    which nothing may be taken again; 0: none is known.
    """

    integrity_key: Secret
    cipher_key: Secret | None
    leaps: int = 0
    received: tuple[int, ...] = (0, 0)

    def wipe(self) -> None:
        """Overwrite both keys with zeros."""
        self.integrity_key.wipe()
        if self.cipher_key is not None:
            self.cipher_key.wipe()


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRecord(KeyRecord):
    """That of a manually keyed pair, which has keys for each direction; never sealed.

    ``integrity_key`` and ``cipher_key`` are the inbound SA's.
    """

    inbound: SaKeys
    outbound: SaKeys

    def wipe(self) -> None:
        """Overwrite all of them with zeros."""
        for keys in (self.inbound, self.outbound):
            keys.integrity.wipe()
            keys.encryption.wipe()
