"""The agreement as two tables, one for each role: state and event to the next state and an action.

The functions of :mod:`.server_role` and :mod:`.client_role` name an event and do what the table
says; :func:`diagram` makes the pictures of the documentation of it. What has no entry cannot
happen: :func:`step` raises.

A server needs no memory for most of this (R3329-2.1-d): for one event the action is the same in
every state that has it, which a test holds. States matter to those who keep the agreement, such
as a daemon with SAs.
"""

from __future__ import annotations

from enum import Enum
from typing import Dict, Final, List, Mapping, NamedTuple, Tuple, TypeVar

from sip_hooks.secagree.errors import LocalAgreementError


class ServerState(str, Enum):
    """What a server has with one client."""

    NONE = "none"
    OFFERED = "offered"  # the list was sent; SAs may lie ready (R3329-2.1-e)
    AGREED = "agreed"


class ServerEvent(str, Enum):
    """What a request, or the end of something, means to a server."""

    DEMANDED = "in clear, sec-agree in Require or Proxy-Require"
    SUPPORTED = "in clear, sec-agree in Supported only"
    UNAWARE = "in clear, without sec-agree"
    OFFERED_FOR_CHALLENGE = "ims: REGISTER in clear with Security-Client"
    FORBIDDEN_IN_CLEAR = "ims: another request in clear"
    NOT_FIRST_HOP = "more than one Via"
    NOT_USED = "the agreement is off, sec-agree is demanded"
    NOT_NEEDED = "nobody asks for the agreement and it is not required"
    CAME_BY_TLS = "over TLS by RFC 3263, without sec-agree"
    SILENT_IN_CLEAR = "ACK or CANCEL in clear"
    SILENT_PROTECTED = "protected ACK, CANCEL, or PRACK without Security-Verify"
    VERIFIED = "protected, Security-Verify is equal"
    DIFFERS = "protected, Security-Verify differs"
    ABSENT = "protected, without Security-Verify"
    LAPSED = "the offer was not taken up in time"
    RECHALLENGED = "digest: the credentials are challenged anew"
    SECURITY_ENDED = "connection, SAs or registration ended"


class ServerAction(str, Enum):
    """What a server does then."""

    ANSWER_494 = "494 with the list"
    ANSWER_421 = "421 with the list"
    ANSWER_MISMATCH = "refuse with the list: 494, ims maybe 403"
    ANSWER_502 = "502"
    ANSWER_420 = "420, Unsupported"
    ANSWER_403 = "403"
    LIST_IN_401 = "pass on; the list goes out in the 401"
    ACCEPT = "take sec-agree out and go on"
    PASS = "go on"  # noqa: S105 - no password
    DROP = "drop without an answer"
    FORGET = "forget the agreement"


class ClientState(str, Enum):
    """What a client has with its first hop."""

    NONE = "none"
    ASKED = "asked"  # Security-Client went out
    STARTING = "starting"  # the mechanism is being started
    VERIFYING = "verifying"  # Security-Verify went out under protection
    AGREED = "agreed"
    FAILED = "failed"


class ClientEvent(str, Enum):
    """What happens to a client."""

    ASKING = "first request to the first hop"
    LED_TO_TLS = "RFC 3263 leads to TLS"
    CHOSEN = "failure response with a list, a mechanism is known and complete"
    NOTHING_COMMON = "failure response with a list, no mechanism is known"
    INCOMPLETE = "what the chosen mechanism needs is missing"
    UNREADABLE = "the list breaks the syntax"
    UNAVAILABLE = "420, or an answer without a list; the agreement is required"
    UNAVAILABLE_OPTIONAL = "420, or an answer without a list; the agreement is optional"
    STARTED = "the mechanism runs"
    START_FAILED = "the mechanism cannot be started"
    ACCEPTED = "answer under protection"
    VERIFY_REFUSED = "494 under protection: the list had been changed"
    REFUSED_BY_USER = "the user does not want this mechanism"
    SECURITY_ENDED = "connection, SAs or registration ended; digest: new challenge"


class ClientAction(str, Enum):
    """What a client does then."""

    SEND_OFFER = "send Security-Client, Require, Proxy-Require"
    GO_ON_WITHOUT = "go on without the agreement"
    START = "start the mechanism"
    SEND_VERIFY = "send again, with Security-Verify"
    GO_ON = "go on, with Security-Verify in each request"
    ABORT = "give up, tell the user; a new first request may follow"
    FORGET = "forget the agreement"


class ServerTransition(NamedTuple):
    """One entry of the server's table."""

    state: ServerState
    action: ServerAction
    rule: str


class ClientTransition(NamedTuple):
    """One entry of the client's table."""

    state: ClientState
    action: ClientAction
    rule: str


_S, _E, _A = ServerState, ServerEvent, ServerAction

# What is answered with the list, alike in every state: anybody can send it.
_LIST_GOES_OUT: Final[Mapping[ServerEvent, Tuple[ServerAction, str]]] = {
    _E.DEMANDED: (_A.ANSWER_494, "R3329-2.3.1-e"),
    _E.SUPPORTED: (_A.ANSWER_494, "R3329-2.3.2-e"),
    _E.UNAWARE: (_A.ANSWER_421, "R3329-2.3.2-d"),
    _E.OFFERED_FOR_CHALLENGE: (_A.LIST_IN_401, "GAP-1"),
    # not in clear, but the list goes out all the same
    _E.DIFFERS: (_A.ANSWER_MISMATCH, "R3329-2.3.1-o"),
    _E.ABSENT: (_A.ANSWER_MISMATCH, "R3329-2.3.1-o"),
}
_ANSWERED_ONLY: Final[Mapping[ServerEvent, Tuple[ServerAction, str]]] = {
    _E.FORBIDDEN_IN_CLEAR: (_A.ANSWER_403, "T33-7.1-p5"),
    _E.NOT_FIRST_HOP: (_A.ANSWER_502, "R3329-2.3.2-b"),
    _E.NOT_USED: (_A.ANSWER_420, "R3261-20.29-a"),
    _E.NOT_NEEDED: (_A.PASS, "R3329-3-a"),
    _E.CAME_BY_TLS: (_A.PASS, "R3329-3-b"),
    _E.SILENT_IN_CLEAR: (_A.DROP, "GAP-2"),
    _E.SILENT_PROTECTED: (_A.PASS, "GAP-2"),
}


def _server_state(state: ServerState) -> Dict[ServerEvent, ServerTransition]:
    """Return what holds in every state; an agreement is not lost to what anybody can send."""
    offered = ServerState.AGREED if state is ServerState.AGREED else ServerState.OFFERED
    result = {e: ServerTransition(offered, *then) for e, then in _LIST_GOES_OUT.items()}
    result.update({e: ServerTransition(state, *then) for e, then in _ANSWERED_ONLY.items()})
    accept = ServerTransition(ServerState.AGREED, ServerAction.ACCEPT, "R3329-2.3.1-n")
    result[ServerEvent.VERIFIED] = accept
    return result


_FORGOTTEN: Final = ServerTransition(_S.NONE, _A.FORGET, "R3329-2.5")

#: A protected request in state NONE is that of a server without memory (R3329-2.1-d).
SERVER_TRANSITIONS: Final[Mapping[ServerState, Mapping[ServerEvent, ServerTransition]]] = {
    _S.NONE: _server_state(_S.NONE),
    _S.OFFERED: {
        **_server_state(_S.OFFERED),
        _E.LAPSED: ServerTransition(_S.NONE, _A.FORGET, "GAP-9"),
        _E.SECURITY_ENDED: _FORGOTTEN,
    },
    _S.AGREED: {
        **_server_state(_S.AGREED),
        _E.RECHALLENGED: _FORGOTTEN,
        _E.SECURITY_ENDED: _FORGOTTEN,
    },
}

_CS, _CE, _CA = ClientState, ClientEvent, ClientAction
_ASK: Final = ClientTransition(_CS.ASKED, _CA.SEND_OFFER, "R3329-2.3.1-b")
_BY_TLS: Final = ClientTransition(_CS.NONE, _CA.GO_ON_WITHOUT, "R3329-2.3.1-a")

# On a list: the same whether the client asked for it or not, and when it comes anew.
_ON_LIST: Final[Mapping[ClientEvent, ClientTransition]] = {
    _CE.CHOSEN: ClientTransition(_CS.STARTING, _CA.START, "R3329-2.3.1-j"),
    _CE.NOTHING_COMMON: ClientTransition(_CS.FAILED, _CA.ABORT, "R3329-2.1-b"),
    _CE.INCOMPLETE: ClientTransition(_CS.FAILED, _CA.ABORT, "R3329-2.3.1-k"),
    _CE.UNREADABLE: ClientTransition(_CS.FAILED, _CA.ABORT, "R3329-2.2-a"),
    _CE.REFUSED_BY_USER: ClientTransition(_CS.FAILED, _CA.ABORT, "R3329-2.3.1-r"),
    _CE.UNAVAILABLE: ClientTransition(_CS.FAILED, _CA.ABORT, "R3261-20.29-a"),
    _CE.UNAVAILABLE_OPTIONAL: ClientTransition(_CS.NONE, _CA.GO_ON_WITHOUT, "R3261-20.29-a"),
}
# ims: a registration is challenged anew and brings a new list (T24-P-6)
_ON_NEW_LIST: Final[Mapping[ClientEvent, ClientTransition]] = {
    event: _ON_LIST[event]
    for event in (_CE.CHOSEN, _CE.NOTHING_COMMON, _CE.INCOMPLETE, _CE.UNREADABLE)
}
_CHANGED: Final = ClientTransition(_CS.FAILED, _CA.ABORT, "R3329-5-c")
_OVER: Final = ClientTransition(_CS.NONE, _CA.FORGET, "R3329-2.5")

CLIENT_TRANSITIONS: Final[Mapping[ClientState, Mapping[ClientEvent, ClientTransition]]] = {
    _CS.NONE: {_CE.ASKING: _ASK, _CE.LED_TO_TLS: _BY_TLS, **_ON_LIST},
    _CS.ASKED: _ON_LIST,
    _CS.STARTING: {
        _CE.STARTED: ClientTransition(_CS.VERIFYING, _CA.SEND_VERIFY, "R3329-2.3.1-l"),
        _CE.START_FAILED: ClientTransition(_CS.FAILED, _CA.ABORT, "R3329-2.4-ike-a"),
        _CE.REFUSED_BY_USER: _ON_LIST[_CE.REFUSED_BY_USER],
    },
    _CS.VERIFYING: {
        _CE.ACCEPTED: ClientTransition(_CS.AGREED, _CA.GO_ON, "R3329-2.1-a"),
        _CE.VERIFY_REFUSED: _CHANGED,
        _CE.SECURITY_ENDED: _OVER,
        **_ON_NEW_LIST,
    },
    _CS.AGREED: {
        _CE.ACCEPTED: ClientTransition(_CS.AGREED, _CA.GO_ON, "R3329-2.3.1-l"),
        _CE.VERIFY_REFUSED: _CHANGED,
        _CE.SECURITY_ENDED: _OVER,
        **_ON_NEW_LIST,
    },
    _CS.FAILED: {_CE.ASKING: _ASK, _CE.LED_TO_TLS: _BY_TLS},
}

_StateT = TypeVar("_StateT", bound=Enum)
_EventT = TypeVar("_EventT", bound=Enum)
_TransitionT = TypeVar("_TransitionT", ServerTransition, ClientTransition)


def step(
    table: Mapping[_StateT, Mapping[_EventT, _TransitionT]], state: _StateT, event: _EventT
) -> _TransitionT:
    """Return the entry; raises :class:`LocalAgreementError` for what cannot happen there."""
    entry = table[state].get(event)
    if entry is None:
        text = f"'{event.value}' cannot happen in state {state.value}"
        hint = "the caller mixed up two agreements, or the order of its calls"
        raise LocalAgreementError(text, None, hint)
    return entry


def diagram(table: Mapping[_StateT, Mapping[_EventT, _TransitionT]]) -> str:
    """Return the changes of state as a Mermaid state diagram: an arrow for each two states.

    An arrow bears every event that leads along it; what is done then stands in the listing.
    """
    lines: List[str] = ["stateDiagram-v2", f"    [*] --> {next(iter(table)).value}"]
    for state, entries in table.items():
        arrows: Dict[str, List[str]] = {}
        for event, entry in entries.items():
            if entry.state != state:
                # what would end a label there, or a statement
                text = event.value.replace(":", " -").replace(";", ",")
                arrows.setdefault(entry.state.value, []).append(text)
        lines += [
            f"    {state.value} --> {after} : {'<br/>'.join(texts)}"
            for after, texts in arrows.items()
        ]
    return "\n".join(lines) + "\n"


def listing(table: Mapping[_StateT, Mapping[_EventT, _TransitionT]]) -> str:
    """Return the table in Markdown, every entry a row."""
    lines = ["| state | event | action | next state | rule |", "| --- | --- | --- | --- | --- |"]
    for state, entries in table.items():
        for event, entry in entries.items():
            cells = (state.value, event.value, entry.action.value, entry.state.value, entry.rule)
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def document() -> str:
    """Return the page on both roles, ``STATES.md``; ``python -m sip_hooks.secagree`` prints it."""
    parts = ["# RFC 3329 as two tables\n", "Made of `transitions.py`; a test compares the two.\n"]
    for title, pictured, listed in (
        ("Server", diagram(SERVER_TRANSITIONS), listing(SERVER_TRANSITIONS)),
        ("Client", diagram(CLIENT_TRANSITIONS), listing(CLIENT_TRANSITIONS)),
    ):
        parts += [f"## {title}\n", f"```mermaid\n{pictured}```\n", listed]
    return "\n".join(parts)
