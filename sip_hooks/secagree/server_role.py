"""The server's side: what a request gets (RFC 3329 sections 2.3.1 and 2.3.2).

:func:`decide_request` is the decision table of those sections. It remembers nothing
(R3329-2.1-d): what a request is follows from its headers, from what protects it, and from the
list that was sent, which is static, or, with ipsec-3gpp, kept by whoever installed the SAs.

The caller carries the decision out: it answers with ``status`` and ``headers``, adds what
``need`` says (a challenge, an SA set), or forwards the request with ``forwarded``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple, Optional, Sequence, Tuple

from sip_hooks.secagree.comparison import Difference, find_difference
from sip_hooks.secagree.digest import DigestUse, Reading, check_d_ver, readings
from sip_hooks.secagree.errors import HeaderError, PolicyError
from sip_hooks.secagree.headers import HeaderName, parse_header, render_header
from sip_hooks.secagree.mechanism import DIGEST, TLS, SecMechanism
from sip_hooks.secagree.option_tags import (
    SEC_AGREE,
    AgreementTags,
    HeaderField,
    read_agreement_tags,
    strip_agreement_tags,
)
from sip_hooks.secagree.prediction import Need, Prediction, predict_choice
from sip_hooks.secagree.profiles import LIST_STATUSES, UNANSWERED_METHODS, Profile, Use
from sip_hooks.secagree.requests import Protection, Request, count_vias, rows_of
from sip_hooks.secagree.transitions import (
    SERVER_TRANSITIONS,
    ServerAction,
    ServerEvent,
    ServerState,
    step,
)

_SECURITY_HEADERS: Final = frozenset(name.value.lower() for name in HeaderName)


@dataclass(frozen=True)
class ServerRules:
    """How one interface uses the agreement; another may differ (R3329-3-a).

    ``is_proxy`` False is a registrar or user agent server. ``accept_tls`` lets clients in that
    came by TLS without the agreement (R3329-3-b). ``verify_required`` False lets protected
    requests without Security-Verify pass, for user agents that leave it out after REGISTER.
    ``mismatch_status`` None is what the profile says (GAP-7). ``reading`` and ``lenient`` are of
    d-ver (GAP-3). Raises :class:`PolicyError`.
    """

    profile: Profile = Profile.RFC3329
    use: Use = Use.REQUIRED
    is_proxy: bool = True
    accept_tls: bool = True
    verify_required: bool = True
    mismatch_status: Optional[int] = None
    reading: Reading = Reading.WITH_NAME
    lenient: bool = False

    def __post_init__(self) -> None:
        status = self.mismatch_status
        if status is not None and not 400 <= status <= 499:
            hint = "set 494 or another status of 400 to 499"
            raise PolicyError(f"{status} is no 4xx", "GAP-7", hint)


class ServerDecision(NamedTuple):
    """What to do with a request. ``status`` is 0 where nothing is answered.

    ``headers`` belong into the answer; ``forwarded``, if any, replace the request's own.
    ``difference`` is what is wrong with Security-Verify. ``need`` says what an answer with the
    list must bring.
    """

    event: ServerEvent
    action: ServerAction
    rule: str
    status: int = 0
    headers: Tuple[HeaderField, ...] = ()
    forwarded: Tuple[HeaderField, ...] = ()
    need: Need = Need.NOTHING
    prediction: Optional[Prediction] = None
    difference: Optional[Difference] = None


def decide_request(
    request: Request,
    rules: ServerRules,
    own: Sequence[SecMechanism],
    digest: Optional[DigestUse] = None,
) -> ServerDecision:
    """Return what a request gets.

    ``own`` is the endpoint's list; for a protected request the one that was sent to this client
    (GAP-6). ``digest`` is the credentials' use if digest protects the request: without it d-ver
    cannot be checked, so the request counts as unverified. No part of a request raises.
    """
    tags = read_agreement_tags(request.headers)
    event, difference = _event(request, tags, rules, own, digest)
    entry = step(SERVER_TRANSITIONS, ServerState.NONE, event)
    made = ServerDecision(event, entry.action, entry.rule, difference=difference)
    if entry.action is ServerAction.ACCEPT or _is_silent_of_ours(request, event, rules):
        return made._replace(forwarded=_forwarded(request.headers, rules))
    status = _status(entry.action, tags, rules)
    if not status:
        return made
    if entry.action is ServerAction.ANSWER_420:
        return made._replace(status=status, headers=(("Unsupported", SEC_AGREE),))
    if status not in LIST_STATUSES:
        return made._replace(status=status)
    prediction = predict_choice(_offers(request), own)
    return made._replace(
        status=status,
        headers=list_headers(own, status),
        need=prediction.need,
        prediction=prediction,
    )


def list_headers(own: Sequence[SecMechanism], status: int) -> Tuple[HeaderField, ...]:
    """Return the headers that carry a list in an answer (R3329-2.3.1-f, R3329-2.3.2-f).

    A 421 or 494 requires the extension (R3329-6-b); the 401 of profile ``ims`` does not (GAP-1).
    Where ``need`` is an SA set, give the list with its SPIs and ports filled in.
    """
    security = (HeaderName.SERVER.value, render_header(own))
    return (("Require", SEC_AGREE), security) if status in LIST_STATUSES else (security,)


# --- what a request is ---------------------------------------------------------------------------

_Event = Tuple[ServerEvent, Optional[Difference]]


def _event(
    request: Request,
    tags: AgreementTags,
    rules: ServerRules,
    own: Sequence[SecMechanism],
    digest: Optional[DigestUse],
) -> _Event:
    verify = rows_of(request.headers, HeaderName.VERIFY)
    if request.method in UNANSWERED_METHODS:
        must_drop = rules.use is Use.REQUIRED and request.protection is Protection.NONE
        return (ServerEvent.SILENT_IN_CLEAR if must_drop else ServerEvent.SILENT_PROTECTED), None
    if rules.use is Use.OFF:
        demanded = tags.proxy_require if rules.is_proxy else tags.require
        return (ServerEvent.NOT_USED if demanded else ServerEvent.NOT_NEEDED), None
    asks = bool(verify) or tags.demanded
    if rules.use is Use.OPTIONAL and not asks:
        return ServerEvent.NOT_NEEDED, None
    if count_vias(request.headers) != 1:
        return ServerEvent.NOT_FIRST_HOP, None
    if _is_protected(request, own, asks=asks):
        return _protected_event(request, verify, rules, own, digest)
    if request.protection is Protection.TLS and rules.accept_tls and not asks:
        return ServerEvent.CAME_BY_TLS, None
    return _clear_event(request, tags, rules), None


def _is_protected(request: Request, own: Sequence[SecMechanism], *, asks: bool) -> bool:
    """Whether a listed mechanism protects the request; plain TLS does once its user says so."""
    if request.protection is Protection.NONE:
        return False
    if request.protection is Protection.TLS and not asks:
        return False
    name = TLS if request.protection is Protection.TLS else (request.mechanism or "").lower()
    return any(m.name.lower() == name for m in own if not m.mediasec)


def _clear_event(request: Request, tags: AgreementTags, rules: ServerRules) -> ServerEvent:
    if rules.profile is Profile.IMS:
        if request.method != "REGISTER":
            return ServerEvent.FORBIDDEN_IN_CLEAR
        if rows_of(request.headers, HeaderName.CLIENT):
            return ServerEvent.OFFERED_FOR_CHALLENGE
    if tags.demanded:
        return ServerEvent.DEMANDED
    return ServerEvent.SUPPORTED if tags.supported else ServerEvent.UNAWARE


def _protected_event(
    request: Request,
    verify: Sequence[str],
    rules: ServerRules,
    own: Sequence[SecMechanism],
    digest: Optional[DigestUse],
) -> _Event:
    if not verify:
        if request.method == "PRACK":
            return ServerEvent.SILENT_PROTECTED, None
        if not rules.verify_required:
            return ServerEvent.VERIFIED, None
        return ServerEvent.ABSENT, find_difference(own, ())
    try:
        received = parse_header(verify)
    except HeaderError as error:  # what cannot be read cannot be the list that was sent
        return ServerEvent.DIFFERS, Difference(0, str(error))
    difference = find_difference(own, received)
    if difference is None and (request.mechanism or "").lower() == DIGEST:
        difference = _d_ver_difference(received, own, rules, digest)
    return (ServerEvent.VERIFIED if difference is None else ServerEvent.DIFFERS), difference


def _d_ver_difference(
    received: Sequence[SecMechanism],
    own: Sequence[SecMechanism],
    rules: ServerRules,
    digest: Optional[DigestUse],
) -> Optional[Difference]:
    """Return why d-ver does not prove the list; R3329-2.4-digest-b makes it the client's duty."""
    places = [i for i, m in enumerate(received) if m.name.lower() == DIGEST]
    index = next((i for i in places if received[i].get("d-ver") is not None), places[0])
    given = received[index].get("d-ver")
    if (received[index].repeated_parameter or "").lower() == "d-ver":  # RFC 3261 7.3.1
        return Difference(index, "'d-ver' stands twice")
    if given is None:
        return Difference(index, "without 'd-ver'")
    if digest is None:
        return Difference(index, "'d-ver' cannot be checked: no H(A1)")
    taken = readings(rules.reading, lenient=rules.lenient)
    if check_d_ver(given[1] or "", digest, (render_header(own),), taken) is None:
        return Difference(index, "another value of 'd-ver'")
    return None


def _is_silent_of_ours(request: Request, event: ServerEvent, rules: ServerRules) -> bool:
    """Whether a request that is not judged belongs to an agreement: its tag ends here too."""
    is_silent = event is ServerEvent.SILENT_PROTECTED
    return is_silent and rules.use is not Use.OFF and request.protection is not Protection.NONE


# --- what it gets --------------------------------------------------------------------------------


def _status(action: ServerAction, tags: AgreementTags, rules: ServerRules) -> int:
    if action is ServerAction.ANSWER_MISMATCH:
        if rules.mismatch_status is not None:
            return rules.mismatch_status
        speaks = tags.demanded or tags.supported
        return 403 if rules.profile is Profile.IMS and not speaks else 494
    return _STATUSES.get(action, 0)


_STATUSES: Final = {
    ServerAction.ANSWER_494: 494,
    ServerAction.ANSWER_421: 421,
    ServerAction.ANSWER_502: 502,
    ServerAction.ANSWER_420: 420,
    ServerAction.ANSWER_403: 403,
}


def _offers(request: Request) -> Tuple[SecMechanism, ...]:
    """Return the client's list; one that cannot be read prepares nothing (R3329-2.3.1-f)."""
    try:
        return parse_header(rows_of(request.headers, HeaderName.CLIENT))
    except HeaderError:
        return ()


def _forwarded(headers: Sequence[HeaderField], rules: ServerRules) -> Tuple[HeaderField, ...]:
    """Return a verified request's headers as they go on (R3329-2.3.1-p, R3329-2.6-a).

    Security-Client and -Verify have done their work at this hop, Security-Server has none in a
    request; a proxy may delete them.
    """
    if not rules.is_proxy:
        return tuple(headers)
    kept = [field for field in headers if field[0].strip().lower() not in _SECURITY_HEADERS]
    return strip_agreement_tags(kept)
