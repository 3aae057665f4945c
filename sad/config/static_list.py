"""The Security-Server list of an endpoint of profile ``rfc3329``, as it stands in the settings.

It never depends on what a client sends (R3329-2.1-c), so what is wrong with it is found before the
daemon serves. The rules are :mod:`sip_hooks.secagree`'s; here stands which mechanisms this version
can keep, and what it promises of them.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from sad.model.errors import MechanismUnavailable
from sip_hooks.secagree import HeaderError, PolicyError, SecMechanism, parse_header, render_header
from sip_hooks.secagree.mechanism import IPSEC_MAN
from sip_hooks.secagree.server_list import ServerList
from sip_hooks.secagree.starting import MINIMUM_TLS
from sip_hooks.secagree.strength import Assurances, find_weaknesses

#: Mechanisms of a static list that have a driver; a new driver adds its name.
DRIVERS: Final = frozenset({"digest", "ipsec-ike", "ipsec-man", "tls"})
#: The hook takes no credentials without qop, nc and d-ver, and no nonce of another's; nothing that
#: came by TLS of a lower version counts as protected.
ASSURANCES: Final = Assurances(
    digest_verify=True, digest_nonce_count=True, tls_version=MINIMUM_TLS
)

_ELSEWHERE: Final = {
    "ipsec-3gpp": 'its keys come with the 401 of AKA: write profile = "ims", and algorithms',
}
_FORM: Final = 'write one mechanism as in the header, e.g. "digest;q=0.2;d-qop=auth"'


class ListFault(NamedTuple):
    """What is wrong with a list, and the way out; ``place`` is the element's, None of all."""

    place: int | None
    reason: str
    hint: str


def faults_of(
    elements: Sequence[str], *, accept_unreplayed_verify: bool = False
) -> Iterator[ListFault]:
    """Find everything that is wrong with a list that is not empty.

    ``accept_unreplayed_verify``: its operator takes SAs without replay protection (IPS-2).
    """
    assurances = ASSURANCES._replace(unreplayed_accepted=accept_unreplayed_verify)
    read: list[SecMechanism] = []
    for place, text in enumerate(elements):
        try:
            read.append(_read(text))
        except HeaderError as error:
            yield ListFault(place, f"position {error.position}: {error.reason}", _FORM)
        except MechanismUnavailable as error:
            yield ListFault(place, f"{error.mechanism} {error.reason}", error.hint)
    if len(read) < len(elements):
        return
    weaknesses = find_weaknesses(read, assurances)
    for weakness in weaknesses:
        name = read[weakness.mechanism_index].name
        reason = f"{name}: {weakness.text} ({weakness.rule})"
        hint = weakness.hint
        if name.lower() == IPSEC_MAN:
            hint += ", or set accept_unreplayed_verify = true if that is meant"
        yield ListFault(weakness.mechanism_index, reason, hint)
    if weaknesses:
        return
    try:
        ServerList(tuple(read), assurances)
    except PolicyError as error:
        yield ListFault(None, f"{error.reason} ({error.rule})", error.hint)
        return
    names = [element.name.lower() for element in read]
    for place, name in enumerate(names):
        if name in names[:place]:  # a client that knows it takes the first by q, never the other
            yield ListFault(place, f"{name} is listed twice", "keep the one that is preferred")


def static_list(elements: Sequence[str]) -> str:
    """Return the value of Security-Server for a list that has no fault."""
    return render_header(parse_header(elements))


def names_in(elements: Sequence[str]) -> frozenset[str]:
    """Return the mechanisms that a list without a fault names."""
    return frozenset(m.name.lower() for m in parse_header(elements)) if elements else frozenset()


def _read(text: str) -> SecMechanism:
    found = parse_header(text)
    if len(found) != 1:
        raise HeaderError(0, f"{len(found)} mechanisms in one element", None)
    name = found[0].name.lower()
    if name not in DRIVERS:
        raise MechanismUnavailable(
            mechanism=found[0].name,
            reason="has no driver for a static list in this version",
            hint=_ELSEWHERE.get(name, f"list {' or '.join(sorted(DRIVERS))}"),
        )
    return found[0]
