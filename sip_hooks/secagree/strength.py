"""Whether the weakest member of a list still protects the agreement (RFC 3329 section 5).

An attacker who can strip a list leaves its weakest member. The stripping is seen only if that one
gives Security-Verify integrity and replay protection at least (R3329-5-a), so a list with a
weaker one is refused at start.
"""

from __future__ import annotations

from typing import Final, List, NamedTuple, Optional, Sequence, Tuple

from sip_hooks.secagree.errors import ParameterError, PolicyError
from sip_hooks.secagree.grammar import shorten
from sip_hooks.secagree.ipsec_3gpp import is_legal_pair, read_ipsec_3gpp
from sip_hooks.secagree.mechanism import (
    DIGEST,
    IPSEC_3GPP,
    IPSEC_IKE,
    IPSEC_MAN,
    TLS,
    SecMechanism,
)

_RULE: Final = "R3329-5-a"


class Assurances(NamedTuple):
    """What this node can promise of its mechanisms; every default is the careful answer.

    ``digest_verify``: the SIP server supplies H(A1), so d-ver is checked. ``digest_nonce_count``:
    nonces bear a time stamp and nc is checked (R3329-5-d). ``tls_version``: the lowest that is
    accepted, (0, 0) unknown. ``manual_anti_replay``: the manual SAs have a replay window although
    RFC 4303 says that they should not (IPS-2). ``unreplayed_accepted``: they have none, and who
    answers for the node takes that for granted.
    """

    digest_verify: bool = False
    digest_nonce_count: bool = False
    tls_version: Tuple[int, int] = (0, 0)
    manual_anti_replay: bool = False
    unreplayed_accepted: bool = False


class Weakness(NamedTuple):
    """Why a member of a list does not protect it; ``hint`` is the way out."""

    mechanism_index: int
    text: str
    rule: str
    hint: str


_Fault = Tuple[str, str, str]


def find_weaknesses(
    mechanisms: Sequence[SecMechanism], assurances: Assurances
) -> Tuple[Weakness, ...]:
    """Return every member that lacks integrity or replay protection for Security-Verify.

    Mechanisms of the media plane protect no SIP and are passed over (UPD-mediasec-b).
    """
    result: List[Weakness] = []
    for index, mechanism in enumerate(mechanisms):
        fault = None if mechanism.mediasec else _fault(mechanism, assurances)
        if fault is not None:
            result.append(Weakness(index, *fault))
    return tuple(result)


def require_strength(mechanisms: Sequence[SecMechanism], assurances: Assurances) -> None:
    """Raise :class:`PolicyError` with every explanation if a member of the list is too weak."""
    found = find_weaknesses(mechanisms, assurances)
    if found:
        text = "; ".join(f"{mechanisms[w.mechanism_index].name}: {w.text}" for w in found)
        raise PolicyError(text, found[0].rule, found[0].hint)


def _fault(mechanism: SecMechanism, assurances: Assurances) -> Optional[_Fault]:
    name = mechanism.name.lower()
    if name == DIGEST:
        return _digest_fault(mechanism, assurances)
    if name == TLS:
        if assurances.tls_version < (1, 2):
            text = "TLS 1.0 and 1.1 must not be used"
            return text, "UPD-8996", "accept TLS 1.2 and later only"
        return None
    if name == IPSEC_MAN:
        if assurances.manual_anti_replay or assurances.unreplayed_accepted:
            return None
        text = "manually keyed SAs have no replay protection"
        return text, _RULE, "use ipsec-ike or ipsec-3gpp instead"
    if name == IPSEC_3GPP:
        return _ipsec_3gpp_fault(mechanism)
    if name == IPSEC_IKE:
        return None
    text = f"nobody knows what {shorten(mechanism.name)} protects"
    return text, "R3329-5-b", "list Digest, TLS or IPsec mechanisms only"


def _digest_fault(mechanism: SecMechanism, assurances: Assurances) -> Optional[_Fault]:
    # auth-int alone covers the body, not the header, so it does not replace d-ver (R3329-5-d)
    if not assurances.digest_verify:
        text = "without d-ver a change of Security-Verify is not seen"
        return text, _RULE, "supply H(A1) so that d-ver can be checked, or do not list digest"
    if mechanism.get("d-qop") is None or not assurances.digest_nonce_count:
        text = "without qop and nonce counting an old request can be replayed"
        return text, _RULE, "set d-qop and check nc against a nonce with a time stamp"
    return None


def _ipsec_3gpp_fault(mechanism: SecMechanism) -> Optional[_Fault]:
    hint = "use an integrity algorithm, or aes-gcm with alg null"
    try:
        pair = read_ipsec_3gpp(mechanism).algorithms
    except ParameterError as error:
        return error.text, error.rule, hint
    if is_legal_pair(pair):
        return None
    return f"{pair[0]} with {pair[1]} gives no integrity that Annex H knows", "T33-H-c", hint
