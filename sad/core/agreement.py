"""RFC 3329's lists in the daemon's words: what is chosen, what is sent, what must come back.

The grammar, the choice and the comparison are :mod:`sip_hooks.secagree`'s; here they meet an
endpoint and become typed refusals.
"""

import functools
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from msgspec import Struct

from sad.model.agreement import OfferRecord, Refusal
from sad.model.algorithms import EXTENSIONS, WITHDRAWN
from sad.model.endpoint import Endpoint, Profile
from sad.model.errors import (
    AlgorithmUnavailable,
    BadHeader,
    MechanismUnavailable,
    NoCommonMechanism,
    VerifyMismatch,
)
from sad.model.sa_set import SaSetParameters
from sip_hooks.secagree import (
    DEFAULT_LIMITS,
    HeaderError,
    HeaderName,
    ParseLimits,
    SecMechanism,
    ServerPolicy,
    UserAgentParameters,
    build_security_server,
    by_preference,
    choose_mechanism,
    find_difference,
    parse_header,
    render_header,
)
from sip_hooks.secagree.security_server import check_own_values

LONGEST_NAME: Final = 64  # of a mechanism that nobody knows, in a refusal

# What is kept of each temporary set until it is confirmed. The longest list that was ever seen
# has 700 characters; without this bound temporary sets could cost hundreds of megabytes.
_OFFERED: Final = ParseLimits(size=4096)
_KEPT: Final = ParseLimits(size=65_536)  # what was taken once, its rows put into one


class Choice(Struct, frozen=True, kw_only=True, gc=False):
    """What is taken of a Security-Client list; ``text`` is the whole list as one row.

    ``parameters`` are those of ipsec-3gpp; None for every other mechanism.
    """

    mechanism: str
    parameters: UserAgentParameters | None
    refusals: tuple[Refusal, ...]
    text: str


def choose(
    rows: Sequence[str], endpoint: Endpoint, missing: AbstractSet[str], *, nat: bool = False
) -> Choice:
    """Return what an endpoint takes of the rows of Security-Client.

    ``missing`` are the ``alg/ealg`` pairs that this kernel lacks; with ``nat``, a NAT between,
    only UDP-enc-tun will do (T33-M-a). Raises BadHeader,
    NoCommonMechanism, AlgorithmUnavailable, and MechanismUnavailable on an endpoint of profile
    ``rfc3329``.
    """
    _require_ims(endpoint)
    offers = read_offers(rows)
    if not offers:
        raise BadHeader(
            header=HeaderName.CLIENT.value,
            row=0,
            position=0,
            reason="missing",
            rule="T24-P-1",  # and T24-P-3 for a REGISTER on an established set
            hint="answer 4xx: without it there is nothing to protect this user agent with",
        )
    selection = choose_mechanism(offers, server_policy(endpoint, missing, nat=nat))
    refusals = tuple(
        Refusal(
            offer_index=r.offer_index,
            mechanism=r.mechanism.name[:LONGEST_NAME],
            reason=r.reason.value,
            text=r.text,
            rule=r.rule,
        )
        for r in selection.refusals
    )
    if selection.choice is None:
        raise NoCommonMechanism(refusals=refusals)  # T33-7.3.2.1
    return Choice(
        mechanism=selection.choice.mechanism.name.lower(),
        parameters=selection.choice.parameters,
        refusals=refusals,
        text=", ".join(rows),
    )


def choose_prepared(
    rows: Sequence[str], endpoint: Endpoint, prepared: AbstractSet[str]
) -> tuple[Choice, ...]:
    """Return what an endpoint of profile ``rfc3329`` may have to prepare for a peer, best first.

    Of its static list those members that have something to prepare (``prepared``) and that the
    peer offers too, by falling q: the first is what a conforming client takes (R3329-2.3.1-j).
    A peer that has offered nothing yet may know them all (R3329-2.3.2-f). Raises BadHeader,
    NoCommonMechanism.
    """
    offers = _read(HeaderName.CLIENT, rows, _OFFERED)
    listed = parse_header((endpoint.security_server,), _KEPT) if endpoint.security_server else ()
    known = {m.name.lower() for m in offers if not m.mediasec}
    text = render_header(offers) if offers else ""
    choices = tuple(
        Choice(mechanism=name, parameters=None, refusals=(), text=text)
        for place in by_preference(listed)
        if (name := listed[place].name.lower()) in prepared and (not offers or name in known)
    )
    if not choices:
        raise NoCommonMechanism(
            refusals=tuple(
                Refusal(
                    offer_index=index,
                    mechanism=offer.name[:LONGEST_NAME],
                    reason="mechanism-not-listed",
                    text="the endpoint's list has nothing to prepare for it",
                    rule="R3329-2.3.1-h",
                )
                for index, offer in enumerate(offers)
            ),
            hint="nothing is to be prepared for this peer: send the static list as it is",
        )
    return choices


def read_offers(rows: Sequence[str]) -> tuple[SecMechanism, ...]:
    """Return the mechanisms of the rows of Security-Client. Raises BadHeader."""
    return _read(HeaderName.CLIENT, rows, _OFFERED)


def _require_ims(endpoint: Endpoint) -> None:
    if endpoint.profile is not Profile.IMS:
        raise MechanismUnavailable(
            mechanism="ipsec-3gpp",
            reason=f"endpoint {endpoint.name} has profile {endpoint.profile}: its list is static",
            hint="ask GetAgreement for the list, or name an endpoint of profile ims",
        )


def server_policy(
    endpoint: Endpoint, missing: AbstractSet[str], *, nat: bool = False
) -> ServerPolicy:
    """Return the endpoint's static list (R3329-2.1-c); raise AlgorithmUnavailable if it is empty.

    Whether withdrawn algorithms and extensions may stand in the list was decided with the
    settings.
    """
    usable = endpoint.algorithms
    if missing:
        usable = tuple(p for p in usable if "/".join(p) not in missing)
    if not usable:
        raise AlgorithmUnavailable(
            algorithm=", ".join("/".join(p) for p in endpoint.algorithms),
            reason=f"this kernel lacks every algorithm of endpoint {endpoint.name}",
            hint="load their kernel modules and restart sad",
        )
    return _policy_of(usable, endpoint.accept_reserved_spi, endpoint.accept_sip_port, nat)


@functools.lru_cache(maxsize=256)  # an endpoint has a handful, and asks for one at each call
def _policy_of(
    usable: tuple[tuple[str, str], ...],
    accept_reserved_spi: bool,  # noqa: FBT001 - positional, as a cache wants its key
    accept_sip_port: bool,  # noqa: FBT001 - as above
    nat: bool,  # noqa: FBT001 - as above
) -> ServerPolicy:
    return ServerPolicy(
        algorithms=usable,
        accept_withdrawn=any(not WITHDRAWN.isdisjoint(pair) for pair in usable),
        accept_extensions=any(not EXTENSIONS.isdisjoint(pair) for pair in usable),
        accept_reserved_spi=accept_reserved_spi,
        accept_sip_port=accept_sip_port,
        nat=nat,
    )


def security_server(sa_set: SaSetParameters, endpoint: Endpoint, missing: AbstractSet[str]) -> str:
    """Return the value of Security-Server for one set.

    Algorithms and their order are the endpoint's, whatever was offered (R3329-2.3.1-g); the mode
    is that of the set.
    """
    policy = server_policy(endpoint, missing, nat=sa_set.encapsulation is not None)
    check_own_values((sa_set.spi_pc, sa_set.spi_ps), (sa_set.port_pc, sa_set.port_ps))
    return _form_of(policy) % {
        "spi_pc": sa_set.spi_pc,
        "spi_ps": sa_set.spi_ps,
        "port_pc": sa_set.port_pc,
        "port_ps": sa_set.port_ps,
    }


#: Legal numbers, none of which stands in another or anywhere else in a list.
_SAMPLES: Final = {
    "spi_pc": 4_294_967_281,
    "spi_ps": 4_294_967_282,
    "port_pc": 65_519,
    "port_ps": 65_521,
}


@functools.lru_cache(maxsize=256)  # as above
def _form_of(policy: ServerPolicy) -> str:
    """Return what Security-Server is under a policy, with places for the numbers of a set.

    Nothing else differs from set to set, so it is written once, and the numbers are put in.
    """
    form = render_header(build_security_server(policy, **_SAMPLES)).replace("%", "%%")
    for name, number in _SAMPLES.items():
        form = form.replace(str(number), f"%({name})d")
    return form


def check_mirrored(offer: OfferRecord, verify: Sequence[str], client: Sequence[str]) -> None:
    """Raise VerifyMismatch unless both lists of a REGISTER are those of its challenge.

    T33-7.3.2.3, T24-P-2, T33-H-g: Security-Verify means what was sent (R3329-2.3.1-m),
    Security-Client what was challenged. Raises BadHeader.
    """
    check_verify(offer.security_server, verify)
    _check_list(HeaderName.CLIENT, offer.security_client, client, offer.security_server)


def check_verify(security_server: str, verify: Sequence[str]) -> None:
    """Raise VerifyMismatch unless Security-Verify means what was sent (R3329-2.3.1-m)."""
    _check_list(HeaderName.VERIFY, security_server, verify, security_server)


def _check_list(name: HeaderName, kept: str, rows: Sequence[str], security_server: str) -> None:
    if ", ".join(rows) == kept:
        return  # the same text, as nearly every peer sends it, means the same
    received = _read(name, rows)
    expected = parse_header(kept, _KEPT)
    if received:
        found = find_difference(expected, received)
        difference = None if found is None else f"{found.mechanism_index}: {found.text}"
    else:
        difference = "missing"  # R3329-2.3.1-o
    if difference is not None:
        raise VerifyMismatch(
            header=name.value,
            difference=difference,
            security_server=security_server,
            hint="never forward it: answer 494 with this list (GAP-7), and let the set expire",
        )


def brings_new_spis(rows: Sequence[str], sa_set: SaSetParameters) -> bool:
    """Whether a Security-Client is of another attempt than a set: none of its SPIs is the set's.

    Who answers the challenge of a set repeats its SPIs, for the set works by them; who registers
    again on an older one brings new values (T24-UE-6). Raises BadHeader.
    """
    offers = _read(HeaderName.CLIENT, rows)
    known = {str(spi) for spi in sa_set.peer_spis}
    spis = [m.get(name) for m in offers for name in ("spi-c", "spi-s")]
    values = {(spi[1] or "").lstrip("0") for spi in spis if spi is not None}
    return bool(values) and known.isdisjoint(values)


def _read(
    name: HeaderName, rows: Sequence[str], limits: ParseLimits = DEFAULT_LIMITS
) -> tuple[SecMechanism, ...]:
    try:
        return parse_header(rows, limits)
    except HeaderError as error:
        raise BadHeader(
            header=name.value,
            row=error.row,
            position=error.position,
            reason=error.reason,
            rule=error.rule,
            hint="answer 400: nothing of a header that breaks the grammar can be trusted",
        ) from error
