"""The client's side: what to send, what an answer means (RFC 3329 sections 2.3.1 and 2.4).

A :class:`ClientAgreement` is an immutable value; every function returns the next one, whose
``outcome`` says what happened and what to do (R3329-2.3.1-r: for the user too). A client's way::

    agreement, headers = ask(begin(rules, offers), request_uri, first_hop)
    agreement = receive(agreement, answer, circumstances)   # outcome.action is START
    ...carry out agreement.start...
    agreement = started(agreement)
    headers = headers_for(agreement, "INVITE")              # Security-Verify, Require, ...
    agreement = receive(agreement, protected_answer, circumstances)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, NamedTuple, Optional, Sequence, Tuple

from sip_hooks.secagree.comparison import same_meaning
from sip_hooks.secagree.digest import DigestUse, Reading, compute_d_ver
from sip_hooks.secagree.errors import (
    HeaderError,
    LocalAgreementError,
    ParameterError,
    PolicyError,
    RefusalReason,
)
from sip_hooks.secagree.grammar import unfold
from sip_hooks.secagree.headers import HeaderName, parse_header, render_header
from sip_hooks.secagree.mechanism import (
    DIGEST,
    SecMechanism,
    part_media_plane,
    repeated_preference,
)
from sip_hooks.secagree.option_tags import SEC_AGREE, HeaderField, has_sec_agree
from sip_hooks.secagree.prediction import choose_listed, kind_of_offer
from sip_hooks.secagree.profiles import LIST_STATUSES, Profile, Use
from sip_hooks.secagree.requests import rows_of
from sip_hooks.secagree.starting import (
    Circumstances,
    Start,
    host_of,
    plan_start,
)
from sip_hooks.secagree.transitions import (
    CLIENT_TRANSITIONS,
    ClientAction,
    ClientEvent,
    ClientState,
    step,
)

_DEMANDS: Final = (("Require", SEC_AGREE), ("Proxy-Require", SEC_AGREE))
_OTHER_LIST: Final = "the first hop has another list: it was changed on the way, or since"
_NOT_TAKEN: Final = (
    "the list is right: Security-Verify was changed on the way, or the password is wrong"
)
_UNDER_PROTECTION: Final = frozenset({ClientState.VERIFYING, ClientState.AGREED})


@dataclass(frozen=True)
class ClientRules:
    """How a client uses the agreement on one interface (R3329-3-a).

    ``verify_in_ack`` puts Security-Verify into the ACK of a 2xx (GAP-2). ``reading`` is what d-ver
    covers (GAP-3).
    """

    profile: Profile = Profile.RFC3329
    use: Use = Use.OPTIONAL
    verify_in_ack: bool = True
    reading: Reading = Reading.WITH_NAME


class Answer(NamedTuple):
    """A response. ``is_protected`` says that it came under the agreed mechanism."""

    status: int
    headers: Tuple[HeaderField, ...] = ()
    is_protected: bool = False


class Outcome(NamedTuple):
    """What just happened; ``reason`` is machine-readable, ``text`` for people."""

    event: ClientEvent
    action: ClientAction
    rule: str
    reason: Optional[RefusalReason] = None
    text: str = ""


@dataclass(frozen=True)
class ClientAgreement:
    """One agreement with the first hop. ``rows`` and ``listed`` are its list as it was received.

    ``chosen`` is the position of the mechanism in ``listed``, ``start`` what starts it.
    """

    rules: ClientRules
    offers: Tuple[SecMechanism, ...]
    state: ClientState = ClientState.NONE
    rows: Tuple[str, ...] = ()
    listed: Tuple[SecMechanism, ...] = ()
    chosen: Optional[int] = None
    start: Optional[Start] = None
    outcome: Optional[Outcome] = None

    @property
    def mechanism(self) -> str:
        """The name of the chosen mechanism in lower case, empty without one."""
        return "" if self.chosen is None else self.listed[self.chosen].name.lower()


def begin(rules: ClientRules, offers: Sequence[SecMechanism]) -> ClientAgreement:
    """Return an agreement that has not begun; ``offers`` are all that the client supports.

    Raises :class:`PolicyError` if there are none, if one bears a q (R3329-2.3.1-c), or if one is
    not Digest, TLS or IPsec (R3329-5-b).
    """
    signalling, _ = part_media_plane(offers)
    if rules.use is not Use.OFF and not signalling:
        hint = "list what this client supports, e.g. tls"
        raise PolicyError("no mechanism is offered", "R3329-2.3.1-c", hint)
    if any(offer.get("q") is not None for offer in offers):
        hint = "leave q out: the preference is the server's"
        raise PolicyError("an offer bears a q", "R3329-2.3.1-c", hint)
    for offer in signalling:
        _check_offer(offer)
    return ClientAgreement(rules, tuple(offers))


def ask(
    agreement: ClientAgreement, request_uri: str, first_hop: str, *, led_to_tls: bool = False
) -> Tuple[ClientAgreement, Tuple[HeaderField, ...]]:
    """Return the agreement asked for, and the headers of the first request (R3329-2.3.1-d).

    ``led_to_tls``: RFC 3263 already leads to TLS, so there is none (R3329-2.3.1-a). The request
    must be for the first hop itself (R3329-2.3.1-b), in profile ``ims`` it is a REGISTER. Raises
    :class:`LocalAgreementError` for another. How often to ask anew after a failure is the
    caller's to bound: who sits in the middle can make each attempt fail.
    """
    rules = agreement.rules
    if led_to_tls or rules.use is Use.OFF:
        return _go(agreement, ClientEvent.LED_TO_TLS), ()
    if rules.profile is Profile.RFC3329 and host_of(request_uri) != host_of(first_hop):
        hint = "send OPTIONS to the first hop's own URI"
        text = "the first request is not addressed to the first hop"
        raise LocalAgreementError(text, "R3329-2.3.1-b", hint)
    fresh = begin(rules, agreement.offers)
    asked = _go(replace(fresh, state=agreement.state), ClientEvent.ASKING)
    offer = (HeaderName.CLIENT.value, render_header(agreement.offers))
    return asked, (offer, *_DEMANDS)


def receive(agreement: ClientAgreement, answer: Answer, given: Circumstances) -> ClientAgreement:
    """Return the agreement after an answer; unchanged by one that says nothing about it.

    What comes in clear while a mechanism protects is passed over: anybody may have sent it.
    """
    if answer.status < 200 or agreement.rules.use is Use.OFF:
        return agreement
    if agreement.state in _UNDER_PROTECTION:
        return _receive_protected(agreement, answer, given)
    if agreement.state in {ClientState.STARTING, ClientState.FAILED}:
        return agreement
    rows = rows_of(answer.headers, HeaderName.SERVER)
    # A list in a 2xx speaks of the media plane (GAP-1)
    if rows and answer.status >= 300:
        return _take_list(agreement, rows, given)
    is_optional = agreement.rules.use is Use.OPTIONAL
    event = ClientEvent.UNAVAILABLE_OPTIONAL if is_optional else ClientEvent.UNAVAILABLE
    refused = answer.status == 420 and has_sec_agree(_values(answer.headers, "unsupported"))
    text = "the first hop does not support sec-agree" if refused else "an answer without a list"
    return _go(agreement, event, text=text)


def started(agreement: ClientAgreement) -> ClientAgreement:
    """Return the agreement whose mechanism runs: send again, with :func:`headers_for`."""
    return _go(agreement, ClientEvent.STARTED)


def start_failed(agreement: ClientAgreement, text: str) -> ClientAgreement:
    """Return the agreement that ends because its mechanism could not be started."""
    return _go(agreement, ClientEvent.START_FAILED, text=text)


def refused_by_user(agreement: ClientAgreement) -> ClientAgreement:
    """Return the agreement that the user does not want (R3329-2.3.1-r)."""
    return _go(agreement, ClientEvent.REFUSED_BY_USER)


def security_ended(agreement: ClientAgreement) -> ClientAgreement:
    """Return no agreement: connection, SAs or registration ended (R3329-2.5)."""
    after = _go(agreement, ClientEvent.SECURITY_ENDED)
    return replace(begin(agreement.rules, agreement.offers), outcome=after.outcome)


def headers_for(
    agreement: ClientAgreement, method: str, digest: Optional[DigestUse] = None
) -> Tuple[HeaderField, ...]:
    """Return the headers that a request gets of the agreement as it is (R3329-2.3.1-l).

    ``digest`` is what the credentials of the same request say; with digest it is needed, else
    :class:`LocalAgreementError`. An ACK here is one of a 2xx; CANCEL and the ACK of another
    answer get nothing (GAP-2, R3261-9.1-a).
    """
    if method == "CANCEL" or agreement.rules.use is Use.OFF:
        return ()
    if agreement.state not in _UNDER_PROTECTION:
        return () if method == "ACK" else (("Supported", SEC_AGREE),)  # R3329-2.3.2-g
    if method == "ACK" and not agreement.rules.verify_in_ack:
        return ()
    verify = tuple((HeaderName.VERIFY.value, row) for row in _mirror(agreement, digest))
    if method == "ACK":
        return verify
    repeats = agreement.rules.profile is Profile.IMS and method == "REGISTER"
    # UPD-mediasec-c and T33-H-g agree: after a 401 Security-Client is repeated, after a 494 not
    client = ((HeaderName.CLIENT.value, render_header(agreement.offers)),) if repeats else ()
    return (*client, *verify, *_DEMANDS)


# --- inside --------------------------------------------------------------------------------------


def _check_offer(offer: SecMechanism) -> None:
    try:
        kind_of_offer(offer)
    except ParameterError as error:
        is_unknown = error.reason is RefusalReason.UNKNOWN_MECHANISM
        rule = "R3329-5-b" if is_unknown else error.rule
        hint = "offer Digest, TLS or IPsec mechanisms only"
        raise PolicyError(error.text, rule, hint) from None


def _go(
    agreement: ClientAgreement,
    event: ClientEvent,
    reason: Optional[RefusalReason] = None,
    text: str = "",
    rule: Optional[str] = None,
) -> ClientAgreement:
    entry = step(CLIENT_TRANSITIONS, agreement.state, event)
    outcome = Outcome(event, entry.action, rule or entry.rule, reason, text)
    return replace(agreement, state=entry.state, outcome=outcome)


def _receive_protected(
    agreement: ClientAgreement, answer: Answer, given: Circumstances
) -> ClientAgreement:
    is_digest = agreement.mechanism == DIGEST  # it protects no answers
    if not (answer.is_protected or is_digest):
        return agreement
    if answer.status in LIST_STATUSES:
        is_mirrored = is_digest and _is_mirrored(agreement, answer)
        if is_mirrored and given.challenge is not None and given.challenge.stale:  # R3329-2.5
            return security_ended(agreement)
        text = _NOT_TAKEN if is_mirrored else _OTHER_LIST
        return _go(agreement, ClientEvent.VERIFY_REFUSED, text=text)
    if answer.status in {401, 407}:
        rows = rows_of(answer.headers, HeaderName.SERVER)
        if rows:
            return _take_list(agreement, rows, given)
        if is_digest:
            return security_ended(agreement)
    return _go(agreement, ClientEvent.ACCEPTED)


def _is_mirrored(agreement: ClientAgreement, answer: Answer) -> bool:
    """Whether the list of an answer says what was mirrored."""
    try:
        listed = parse_header(rows_of(answer.headers, HeaderName.SERVER))
    except HeaderError:
        return False
    return same_meaning(agreement.listed, listed)


def _take_list(
    agreement: ClientAgreement, rows: Sequence[str], given: Circumstances
) -> ClientAgreement:
    try:
        listed = parse_header(rows)
    except HeaderError as error:
        return _go(agreement, ClientEvent.UNREADABLE, text=str(error), rule=error.rule)
    kept = replace(
        agreement, rows=tuple(rows), listed=listed, chosen=None, start=None, outcome=None
    )
    chosen = choose_listed(listed, agreement.offers)
    if chosen is None:
        return _go(kept, ClientEvent.NOTHING_COMMON)
    try:
        start = plan_start(listed[chosen], given)
    except ParameterError as error:
        return _go(kept, ClientEvent.INCOMPLETE, error.reason, error.text)
    shared = repeated_preference(part_media_plane(listed)[0])
    text = "" if shared is None else f"two mechanisms have q {shared / 1000:g}: the earlier counts"
    return _go(replace(kept, chosen=chosen, start=start), ClientEvent.CHOSEN, text=text)


def _mirror(agreement: ClientAgreement, digest: Optional[DigestUse]) -> Tuple[str, ...]:
    """Return the rows of Security-Verify: those received, with d-ver where digest was chosen."""
    if agreement.mechanism != DIGEST:
        return tuple(unfold(row).strip(" \t") for row in agreement.rows)
    if digest is None:
        hint = "give what the credentials of the same request say"
        raise LocalAgreementError("d-ver needs the digest", "R3329-2.4-digest-b", hint)
    value = compute_d_ver(digest, agreement.rows, agreement.rules.reading)
    return (
        render_header(
            SecMechanism(m.name, (*m.parameters, ("d-ver", value, True)))
            if place == agreement.chosen
            else m
            for place, m in enumerate(agreement.listed)
        ),
    )


def _values(headers: Sequence[HeaderField], name: str) -> Tuple[str, ...]:
    return tuple(value for given, value in headers if given.strip().lower() == name)
