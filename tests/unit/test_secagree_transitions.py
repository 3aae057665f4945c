"""Both roles as tables: what they promise as a whole, and that the page shows them (section 2)."""

import runpy
from pathlib import Path

import pytest

import sip_hooks.secagree
from sip_hooks.secagree import (
    CLIENT_TRANSITIONS,
    SERVER_TRANSITIONS,
    ClientAction,
    ClientEvent,
    ClientState,
    LocalAgreementError,
    ServerAction,
    ServerEvent,
    ServerState,
)
from sip_hooks.secagree.transitions import diagram, document, listing, step

PAGE = Path(sip_hooks.secagree.__file__).parent / "STATES.md"


def test_the_page_is_made_of_the_tables(capsys: pytest.CaptureFixture[str]) -> None:
    """Its way out: python -m sip_hooks.secagree > sip_hooks/secagree/STATES.md."""
    runpy.run_module("sip_hooks.secagree", run_name="__main__")

    assert capsys.readouterr().out == document()
    assert PAGE.read_text(encoding="utf-8") == document()


def test_the_pictures_show_every_change_and_the_lists_every_entry() -> None:
    """Arrows bear the events that change the state, rows are all entries."""
    pictured = diagram(CLIENT_TRANSITIONS)
    changes = [
        (state, entry.state, event.value.replace(";", ",").replace(":", " -"))
        for state, entries in CLIENT_TRANSITIONS.items()
        for event, entry in entries.items()
        if entry.state is not state
    ]
    arrows = {
        line.split(" : ")[0].strip(): line.split(" : ")[1].split("<br/>")
        for line in pictured.splitlines()[2:]
    }

    assert {(before.value, after.value) for before, after, _ in changes} == {
        tuple(arrow.split(" --> ")) for arrow in arrows
    }
    for before, after, text in changes:
        assert text in arrows[f"{before.value} --> {after.value}"]
    assert sum(map(len, arrows.values())) == len(changes)
    assert listing(SERVER_TRANSITIONS).count("\n") == 2 + sum(
        len(entries) for entries in SERVER_TRANSITIONS.values()
    )


def test_every_state_and_event_of_a_role_is_in_its_table() -> None:
    """Nothing is named that cannot happen, every state is reached and none is a dead end."""
    assert set(SERVER_TRANSITIONS) == set(ServerState)
    assert set(CLIENT_TRANSITIONS) == set(ClientState)
    assert {event for row in SERVER_TRANSITIONS.values() for event in row} == set(ServerEvent)
    assert {event for row in CLIENT_TRANSITIONS.values() for event in row} == set(ClientEvent)
    assert {e.action for row in SERVER_TRANSITIONS.values() for e in row.values()} == set(
        ServerAction
    )
    assert {e.action for row in CLIENT_TRANSITIONS.values() for e in row.values()} == set(
        ClientAction
    )
    assert {e.state for row in SERVER_TRANSITIONS.values() for e in row.values()} == set(
        ServerState
    )
    assert {e.state for row in CLIENT_TRANSITIONS.values() for e in row.values()} == set(
        ClientState
    )


def test_the_server_acts_alike_in_every_state() -> None:
    """So it needs no memory: the action follows from the request (R3329-2.1-d, R3329-1-b)."""
    for event in ServerEvent:
        actions = {row[event].action for row in SERVER_TRANSITIONS.values() if event in row}
        assert len(actions) == 1, event


def test_what_anybody_can_send_ends_no_agreement() -> None:
    """In state agreed only the end of the security leads out (R3329-2.5, R3329-5-c)."""
    leaving = {
        event
        for event, entry in SERVER_TRANSITIONS[ServerState.AGREED].items()
        if entry.state is not ServerState.AGREED
    }

    assert leaving == {ServerEvent.RECHALLENGED, ServerEvent.SECURITY_ENDED}


def test_the_order_of_steps_is_that_of_the_model() -> None:
    """Client list, server list, security on, list repeated under it, ok (R3329-2.1-a)."""
    state = ClientState.NONE
    actions = []
    for event in (
        ClientEvent.ASKING,
        ClientEvent.CHOSEN,
        ClientEvent.STARTED,
        ClientEvent.ACCEPTED,
    ):
        entry = step(CLIENT_TRANSITIONS, state, event)
        state = entry.state
        actions.append(entry.action)

    assert state is ClientState.AGREED
    assert actions == [
        ClientAction.SEND_OFFER,
        ClientAction.START,
        ClientAction.SEND_VERIFY,
        ClientAction.GO_ON,
    ]


def test_what_has_no_entry_cannot_happen() -> None:
    """A mechanism that was never chosen cannot have started: the caller's mistake is told."""
    with pytest.raises(LocalAgreementError, match="cannot happen in state none"):
        step(CLIENT_TRANSITIONS, ClientState.NONE, ClientEvent.STARTED)


def test_a_digest_agreement_ends_with_the_challenge_an_offer_with_its_time() -> None:
    """RFC 3329 2.5: digest ends when credentials are challenged anew (R3329-2.5); GAP-9."""
    challenged = step(SERVER_TRANSITIONS, ServerState.AGREED, ServerEvent.RECHALLENGED)
    lapsed = step(SERVER_TRANSITIONS, ServerState.OFFERED, ServerEvent.LAPSED)

    assert (challenged.state, challenged.rule) == (ServerState.NONE, "R3329-2.5")
    assert (lapsed.state, lapsed.rule) == (ServerState.NONE, "GAP-9")
