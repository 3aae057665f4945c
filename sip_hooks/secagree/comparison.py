"""Whether two Security-* lists say the same: Security-Verify against what was sent.

The rule is R3329-2.3.1-m: same mechanisms, same order, in each the same parameters with the same
values, compared as R3261-7.3.1-a says. The same function compares the Security-Client of the
protected REGISTER with that of the challenged one (T33-7.3.2.3). Decided where the standards are
silent:

* Numbers compare as numbers: SPIs and ports of ipsec-3gpp and q. ``0.1`` and ``0.100`` name one
  value, and a peer that reads and prints it again has changed nothing.
* A default is not a parameter: ``prot=esp`` on one side only is a difference, because the peer is
  asked to mirror the list (R3329-2.3.1-l), not to say something equivalent.
* A quoted value never equals one without quotes; quoted values compare by content, not escapes.
* A parameter that stands twice must stand twice on both sides.
* d-ver of digest is passed over: the client adds it to the mirrored list (R3329-2.4-digest-b) and
  it is verified by itself. On any other mechanism it is a difference.
"""

from __future__ import annotations

from collections import Counter
from typing import List, NamedTuple, Optional, Sequence, Tuple

from sip_hooks.secagree.grammar import parse_qvalue, shorten
from sip_hooks.secagree.ipsec_3gpp import PORT_PARAMETERS, SPI_PARAMETERS
from sip_hooks.secagree.mechanism import DIGEST, IPSEC_3GPP, SecMechanism

# Name in lower case; 0 no value, 1 token, 2 quoted; value. Sortable, whatever the values are.
_Comparable = Tuple[str, int, str]

_NUMBERS = SPI_PARAMETERS | PORT_PARAMETERS


class Difference(NamedTuple):
    """The first difference found: at which mechanism of the lists, and what it is."""

    mechanism_index: int
    text: str


def find_difference(
    sent: Sequence[SecMechanism], received: Sequence[SecMechanism]
) -> Optional[Difference]:
    """Return where ``received`` differs in meaning from the list ``sent``, or None if nowhere."""
    if len(sent) != len(received):
        text = f"{len(received)} mechanisms instead of {len(sent)}"
        return Difference(min(len(sent), len(received)), text)
    for index, ours in enumerate(sent):
        theirs = received[index]
        if ours == theirs:  # same text, the usual case
            continue
        difference = _mechanism_difference(ours, theirs)
        if difference is not None:
            return Difference(index, difference)
    return None


def same_meaning(sent: Sequence[SecMechanism], received: Sequence[SecMechanism]) -> bool:
    """Whether the two lists are equal by R3329-2.3.1-m."""
    return find_difference(sent, received) is None


def _mechanism_difference(ours: SecMechanism, theirs: SecMechanism) -> Optional[str]:
    name = ours.name.lower()
    if theirs.name.lower() != name:
        return f"mechanism {shorten(theirs.name)} instead of {shorten(ours.name)}"
    expected = Counter(_comparable(name, ours))
    given = Counter(_comparable(name, theirs))
    missing = expected - given
    added = given - expected
    if missing:
        parameter = min(missing)[0]
        replaced = any(parameter == other for other, _, _ in added)
        return f"{'another value of' if replaced else 'without'} {shorten(parameter)}"
    return f"with {shorten(min(added)[0])} added" if added else None


def _comparable(mechanism_name: str, mechanism: SecMechanism) -> List[_Comparable]:
    result: List[_Comparable] = []
    for written, value, quoted in mechanism.parameters:
        name = written.lower()
        if value is None:
            result.append((name, 0, ""))
        elif quoted:
            if not (name == "d-ver" and mechanism_name == DIGEST):
                result.append((name, 2, value))
        else:
            result.append((name, 1, _token_meaning(mechanism_name, name, value)))
    return result


def _token_meaning(mechanism_name: str, name: str, value: str) -> str:
    if name == "q":
        thousandths = parse_qvalue(value)
        return value if thousandths is None else str(thousandths)
    if name in _NUMBERS and mechanism_name == IPSEC_3GPP and value.isdigit():
        return value.lstrip("0") or "0"
    return value.lower()
