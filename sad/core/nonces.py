"""How many packets and rebuilds an SA set of aes-gcm or aes-gmac may have (T33-I-b).

All SAs of a set have one key and one salt, so the 8-byte IVs must differ across all of them.
``sad/docs/nonces.md`` has the argument; these are its numbers. In short: the kernel XORs
sequence numbers with 64 random bits of each SA, so the IVs of an SA that sends at most BLOCK
packets lie in one aligned block of BLOCK values, at random among 2^40 of them.
"""

from fractions import Fraction
from typing import Final

#: Sequence numbers of one life of an SA; the next life begins at the next multiple.
BLOCK: Final = 1 << 24
#: The kernel's hard limit of packets. NEWAE forgets what was sent between reading a counter and
#: writing it back, a packet or two a refresh, so only half of a block is given out.
PACKETS: Final = BLOCK // 2
_IVS: Final = 1 << 64
#: NIST SP 800-38D section 8: how likely it may ever be that one IV occurs twice under one key.
TOLERATED: Final = Fraction(1, 1 << 32)
#: SAs that send under one key before any was rebuilt: two of ours and two of the peer's.
_SENDING: Final = 4
#: Sending SAs that one rebuild makes anew: ours. A peer makes none anew under an old key.
_REBUILT: Final = 2


def repeat_bound(lives: int) -> Fraction:
    """Return how likely an IV occurs twice among so many lives of sending SAs of one key.

    Each two of them share a block with probability BLOCK / 2^64; the sum over all is the bound.
    """
    return Fraction(lives * (lives - 1) // 2 * BLOCK, _IVS)


def most_rebuilds() -> int:
    """Return how often a set may be rebuilt under its key before the bound is passed."""
    lives = _SENDING
    while repeat_bound(lives + _REBUILT) <= TOLERATED:
        lives += _REBUILT
    return (lives - _SENDING) // _REBUILT


#: That number: 9.
MOST_REBUILDS: Final = most_rebuilds()
