"""``sadctl key`` against the real server and the real keeper of keys; keys in, and never out."""

import asyncio
import getpass
import io
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from sad.api.authorization import AccessPolicy
from sad.api.listening import make_listening_socket
from sad.api.methods import Methods
from sad.api.server import Server
from sad.config.problems import Problem
from sad.ctl.__main__ import main
from sad.ctl.failures import Exit, Failure
from sad.ctl.key_input import parse_keys, read_keys
from sad.ctl.keys import key_list_lines
from sad.ctl.sheet import Sheet
from tests.support.api import SIP_SERVER
from tests.support.key_files import (
    ENCRYPTION_KEY,
    INTEGRITY_KEY,
    NEXT_ENCRYPTION_KEY,
    NEXT_INTEGRITY_KEY,
    assert_no_key,
)
from tests.support.key_sets import key_set
from tests.support.man_shell import ManShell
from tests.support.shell import OPERATOR

ADD = ["--endpoint", "peering", "--peer", "10.10.0.2", "--local-ports", "5064"]
ADD += ["--peer-ports", "5064,5070", "--encryption", "aes-cbc-128", "--not-after", "+2d"]
SPIS = ["--spi-in", "4097", "--spi-out", "0x2001"]


class Said(NamedTuple):
    code: int
    out: str
    err: str


class Served:
    """A daemon to talk to, and ``sadctl`` talking to it from another thread."""

    def __init__(self, path: Path, shell: ManShell, capsys: pytest.CaptureFixture[str]) -> None:
        self.path, self.shell = path, shell
        self._capsys = capsys

    async def key(self, *argv: str, keys: str = "") -> Said:
        reading, writing = os.pipe()
        os.write(writing, keys.encode())
        os.close(writing)
        given = ["--key-fd", str(reading)] if keys else []
        try:
            code = await asyncio.to_thread(
                main, ["key", *argv, *given, "--socket", str(self.path)]
            )
        finally:
            os.close(reading)
        return Said(code, *self._capsys.readouterr())


@pytest.fixture
async def served(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> AsyncIterator[Served]:
    shell = ManShell()
    # sadctl says what now is, and this clock stands.
    shell.clock.step(time.time() + 3600 - shell.clock.realtime())
    policy = AccessPolicy(control_uids=frozenset({OPERATOR.uid}))
    listening = make_listening_socket(tmp_path / "sad.sock", 0o600)
    methods = Methods(shell.service, policy, shell.keys)
    server = Server(listening.socket, methods, identify=lambda _socket: OPERATOR)
    server.start()
    yield Served(tmp_path / "sad.sock", shell, capsys)
    await server.close(grace_seconds=0)
    listening.close()


async def test_a_set_is_added_listed_rotated_and_removed(served: Served) -> None:
    """R3329-2.4-man-a: what an operator gives is in force at once; its keys never come back."""
    said = await served.key("add", "old", *ADD, *SPIS, keys=f"{INTEGRITY_KEY}\n{ENCRYPTION_KEY}\n")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("old  standing  ends in ")
    (live,) = served.shell.live().values()
    stored = {s.sa.id.spi: s for s in served.shell.tables.sas.values()}
    assert stored[4097].integrity_key.hex() == INTEGRITY_KEY
    assert stored[0x2001].encryption_key.hex() == ENCRYPTION_KEY

    new = ["--spi-in", "4098", "--spi-out", "8194", "--not-after", "+3d"]
    named = (
        f"# labels as in key files\nintegrity_key_in = '{NEXT_INTEGRITY_KEY}'\n"
        f"integrity_key_out: {INTEGRITY_KEY[::-1]}\nencryption_key = {NEXT_ENCRYPTION_KEY}\n"
    )
    rotated = await served.key("rotate", "old", "new", *new, "--json", keys=named)
    assert (rotated.code, rotated.err) == (0, "")
    assert '"name": "new"' in rotated.out or '"name":"new"' in rotated.out

    listed = await served.key("list")
    assert [row.split()[0] for row in listed.out.splitlines()] == ["old", "new"]
    assert "10.10.0.2:5064, 5070" in listed.out
    assert "in 0x00001001 out 0x00002001" in listed.out
    assert live.id in listed.out
    assert (await served.key("remove", "new")).out == "removed, and its SAs with it\n"
    assert (await served.key("remove", "old")).code == 0
    assert (await served.key("list")).out == "no key sets\n"
    for text in (said, rotated, listed):
        assert_no_key(text.out + text.err)


@pytest.mark.parametrize(
    ("argv", "keys", "code", "words"),
    [
        (["add", "old", *ADD, *SPIS], "00\n11\n22\n", 2, "more than two keys"),
        (["add", "old", *ADD, *SPIS], f"cipher = {INTEGRITY_KEY}", 2, "another name"),
        (["add", "old", *ADD, *SPIS], "integrity_key = 0\nintegrity_key = 1", 2, "twice"),
        (["add", "old", *ADD, *SPIS], "# nothing\n", 2, "there is no key"),
        (["add", "old", *ADD, *SPIS], "0" * 5000, 2, "too long"),
        (["add", "old", *ADD, *SPIS], "\u2013", 2, "no text of hex digits"),
        (["add", "old", *ADD, *SPIS], f"{INTEGRITY_KEY}x\n{ENCRYPTION_KEY}", 1, "not hex digits"),
        (["add", "old", *ADD, *SPIS], INTEGRITY_KEY, 1, "encryptionKey: missing"),
        (["add", "o/d", *ADD, *SPIS], INTEGRITY_KEY, 1, "no name of a key set"),
        (["add", INTEGRITY_KEY, *ADD, *SPIS], INTEGRITY_KEY, 1, "no name of a key set"),
        (["rotate", "a", "b", *SPIS, "--not-after", "+1h"], INTEGRITY_KEY, 1, "no key set of"),
        (["remove", "a"], "", 1, "no key set of this name"),
    ],
)
async def test_what_cannot_be_is_refused_without_a_key(
    served: Served, argv: list[str], keys: str, code: int, words: str
) -> None:
    """Each with its own reason and the way out; nothing of the input is repeated."""
    if argv[0] == "remove":
        said = await served.key(*argv)
    else:
        said = await served.key(*argv, keys=keys)

    assert said.code == code
    assert words in said.err
    assert "hint: " in said.err
    assert_no_key(said.err)
    assert served.shell.live() == {}


async def test_only_operators_may(tmp_path: Path) -> None:
    """control_groups: not the SIP server, whatever endpoint is its own."""
    shell = ManShell(key_set())
    await shell.read()
    methods = Methods(shell.service, AccessPolicy(endpoint_uids=frozenset({1000})), shell.keys)
    listening = make_listening_socket(tmp_path / "sad.sock", 0o600)
    server = Server(listening.socket, methods, identify=lambda _socket: SIP_SERVER)
    server.start()
    try:
        code = await asyncio.to_thread(
            main, ["key", "list", "--socket", str(tmp_path / "sad.sock")]
        )
    finally:
        await server.close(grace_seconds=0)
        listening.close()
    assert code == Exit.NOT_PERMITTED


async def test_what_is_wrong_in_files_is_listed_with_the_way_out(served: Served) -> None:
    """One look tells which sets there are and which there should be."""
    served.shell.problems = [
        Problem("/etc/sad/keys.d/a.toml:7", "old.spi_in", "reserved", "agree on another")
    ]
    served.shell.keys.read()

    said = await served.key("list")

    assert said.out == (
        "/etc/sad/keys.d/a.toml:7: old.spi_in: reserved\n  hint: agree on another\n"
    )


def test_rows_tell_when_a_set_begins_or_ends() -> None:
    """Soon in words, far away as a date."""
    row = {
        "name": "old",
        "origin": "Control",
        "state": "waiting",
        "endpoint": "peering",
        "role": "edge",
        "identity": "b",
        "localAddress": "10.10.0.1",
        "peerAddress": "2001:db8::2",
        "spiIn": 4097,
        "spiOut": 8193,
        "localPorts": [5064],
        "peerPorts": [5064],
        "integrityAlgorithm": "hmac-sha-256-128",
        "encryptionAlgorithm": "null",
        "notBefore": 1_700_000_060_000_000,
        "notAfter": 1_800_000_000_000_000,
        "activation": "agreement",
    }

    def line(now: float) -> str:
        (only,) = key_list_lines({"keys": [row], "problems": []}, Sheet(), now)  # type: ignore[list-item]  # a plain dictionary, as of JSON
        return only

    assert "  begins in 1 min  " in line(1_700_000_000.0)
    assert "  ends 2027-01-15 08:00Z" in line(1_700_000_060.0)
    assert "  ends in 1 d" in line(1_800_000_000.0 - 86_400)
    assert "[2001:db8::2]:5064" in line(0.0)
    assert line(0.0).endswith("  agreement  Control")


def test_at_a_terminal_keys_are_asked_for_without_an_echo(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Getpass switches the echo off; with null there is one key to ask for."""
    answers = iter([INTEGRITY_KEY, ENCRYPTION_KEY, INTEGRITY_KEY])

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(getpass, "getpass", lambda _prompt: next(answers))

    assert read_keys(None, wants_encryption=True) == {
        "integrityKey": INTEGRITY_KEY,
        "encryptionKey": ENCRYPTION_KEY,
    }
    assert read_keys(None, wants_encryption=False) == {"integrityKey": INTEGRITY_KEY}


def test_keys_come_by_standard_input(tmp_path: Path) -> None:
    """The real program with a pipe: it gets as far as the socket, which nobody serves."""
    command = [sys.executable, "-m", "sad.ctl", "key", "add", "old", *ADD, *SPIS]
    done = subprocess.run(
        [*command, "--socket", str(tmp_path / "none")],
        input=f"{INTEGRITY_KEY}\n{ENCRYPTION_KEY}\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == Exit.UNREACHABLE
    assert_no_key(done.stdout + done.stderr)


def test_a_descriptor_that_is_not_open_is_told() -> None:
    """And a key among the arguments is taken by nobody."""
    with pytest.raises(Failure, match="cannot be read"):
        read_keys(987, wants_encryption=True)
    with pytest.raises(SystemExit):
        main(["key", "add", "old", *ADD, *SPIS, "--key-fd", INTEGRITY_KEY])
    assert parse_keys(f" {INTEGRITY_KEY} \n") == {"integrityKey": INTEGRITY_KEY}
