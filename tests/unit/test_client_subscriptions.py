"""A subscription that is read when its reader has time, against a peer in the same thread."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sip_hooks.client import BadReply, CallError, Client, Subscription, TimedOut, Unreachable
from tests.support.scripted_service import error, reply

METHOD = "org.example.Watch"
FIRST, LAST = reply({"n": 1}, continues=True), reply({"n": 2})


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as bound:
        bound.bind(str(tmp_path / "s"))
        bound.listen()
        yield bound


@pytest.fixture
def subscription(listening: socket.socket) -> Iterator[Subscription]:
    with Client(listening.getsockname(), timeout=5).subscribe(METHOD, {"a": 1}) as subscribed:
        yield subscribed


@pytest.fixture
def peer(listening: socket.socket, subscription: Subscription) -> Iterator[socket.socket]:
    """The daemon's end, which has taken the call."""
    connection, _ = listening.accept()
    with connection:
        call = json.loads(connection.recv(65536).removesuffix(b"\0"))
        assert call == {"method": METHOD, "parameters": {"a": 1}, "more": True}
        yield connection


def test_a_reply_that_is_late_is_not_lost(peer: socket.socket, subscription: Subscription) -> None:
    """However the stream is cut: what came before a time-out counts after it."""
    for piece in (FIRST[:7], FIRST[7:-1]):
        peer.sendall(piece)
        with pytest.raises(TimedOut):
            subscription.next(0.01)
    peer.sendall(FIRST[-1:] + LAST)

    assert subscription.next(5) == {"n": 1}
    assert not subscription.done
    assert subscription.next(5) == {"n": 2}
    assert subscription.done


def test_replies_that_have_come_are_read_without_time(
    peer: socket.socket, subscription: Subscription
) -> None:
    """The first look takes what is there; the rest needs no socket."""
    peer.sendall(FIRST + FIRST)
    assert subscription.next(5) == {"n": 1}

    assert subscription.next(0) == {"n": 1}


def test_a_peer_that_is_gone_is_told(peer: socket.socket, subscription: Subscription) -> None:
    """Also after replies; the reader may then subscribe again."""
    peer.sendall(FIRST)
    peer.close()
    assert subscription.next(5) == {"n": 1}

    with pytest.raises(Unreachable):
        subscription.next(5)


def test_an_error_and_nonsense_are_told(peer: socket.socket, subscription: Subscription) -> None:
    """As for a call."""
    peer.sendall(error("org.example.Busy", hint="later") + b"[]\0")

    with pytest.raises(CallError, match="later"):
        subscription.next(5)
    assert subscription.done
    with pytest.raises(BadReply):
        subscription.next(5)


def test_nobody_there_is_told_at_once(tmp_path: Path) -> None:
    """Nothing was begun."""
    with pytest.raises(Unreachable) as caught:
        Client(str(tmp_path / "none")).subscribe(METHOD)

    assert not caught.value.may_have_run
