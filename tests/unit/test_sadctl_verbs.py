"""The verbs against the real server on a real socket, with associations in memory."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias

import pytest

from sad.ctl.__main__ import main
from sad.model.association import Association, AssociationState
from sad.model.endpoint import Role
from sad.model.inspection import Fitness
from tests.support import make
from tests.support.api import serving_in_thread
from tests.support.memory_backend import MemoryBackend

UE_V6 = "2001:db8:1111:2222:3333:4444:5555:6666"


class Said(NamedTuple):
    code: int
    out: str
    err: str


class Served:
    """A daemon to talk to, and ``sadctl`` talking to it."""

    def __init__(
        self,
        path: Path,
        backend: MemoryBackend,
        there: Callable[[Callable[[], None]], None],
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        self.path = path
        self.backend = backend
        self._there = there
        self._capsys = capsys

    def put(self, *associations: Association) -> None:
        for association in associations:
            self._there(lambda a=association: self.backend.put(a))  # type: ignore[misc]  # mypy: defaults of lambdas

    def sadctl(self, *argv: str) -> Said:
        code = main([*argv, "--socket", str(self.path)])
        return Said(code, *self._capsys.readouterr())

    def ids(self, *argv: str) -> list[str]:
        """The ids that a list with these filters shows."""
        said = self.sadctl("list", *argv)
        assert (said.code, said.err) == (0, "")
        return [line.split()[0] for line in said.out.splitlines()]


Serve: TypeAlias = Iterator[Served]


@pytest.fixture
def served(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Serve:
    path = tmp_path / "sad.sock"
    with serving_in_thread(path) as (backend, there):
        yield Served(path, backend, there, capsys)


def at(association_id: str, ue_address: str = make.UE_ADDRESS, **changes: object) -> Association:
    return make.association(
        id=association_id, sa_set=make.sa_set(ue_address=ue_address), **changes
    )


def test_status_is_what_no_verb_shows(served: Served) -> None:
    """No arguments: who is protected, at one command."""
    served.put(at("a1"))
    said = served.sadctl()

    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("sad: ready\n")
    assert "  associations: 1 (1 established)\n" in said.out
    assert said == served.sadctl("status")


def test_list_shows_each_association_once(served: Served) -> None:
    """And each on one line when nobody looks on."""
    served.put(at("a1"), at("a2", "10.10.0.3"), at("a3", UE_V6))

    assert served.ids() == ["a1", "a2", "a3"]


def test_list_of_nothing_is_empty(served: Served) -> None:
    """For scripts no association is no line, in either form."""
    assert served.sadctl("list") == (0, "", "")
    assert served.sadctl("list", "--json") == (0, "", "")


def test_list_filters(served: Served) -> None:
    """By endpoint, identity, peer and state; several must all match."""
    served.put(
        at("a1"),
        at("a2", UE_V6, endpoint="other"),
        at("a3", private_identity="x", state=AssociationState.IN_USE),
    )

    assert served.ids("--endpoint", "other") == ["a2"]
    assert served.ids("--impi", "x") == ["a3"]
    assert served.ids("--peer", make.UE_ADDRESS) == ["a1", "a3"]
    assert served.ids("--peer", f"[{UE_V6.upper()}]") == ["a2"]
    assert served.ids("--state", "in-use") == ["a3"]
    assert served.ids("--impi", "x", "--endpoint", "other") == []


GOLDEN = {
    "id": "a1",
    "endpoint": "access",
    "role": "edge",
    "mechanism": "ipsec-3gpp",
    "state": "established",
    "endReason": None,
    "registration": {
        "privateIdentity": "001010000000001@ims.example",
        "publicIdentities": [],
    },
    "ipsec3gpp": {
        "ueAddress": "10.10.0.2",
        "pcscfAddress": "10.10.0.1",
        "spiUc": 25656,
        "spiUs": 25657,
        "spiPc": 70001,
        "spiPs": 70002,
        "portUc": 6301,
        "portUs": 6300,
        "portPc": 5068,
        "portPs": 5064,
        "integrityAlgorithm": "hmac-sha-1-96",
        "encryptionAlgorithm": "null",
        "udpEncapsulation": None,
    },
    "ipsecMan": None,
    "tls": None,
    "ipsecIke": None,
    "createdAt": 1_700_000_000_000_000,
    "confirmedAt": 1_700_000_000_000_000,
    "expiresAt": 1_700_000_900_000_000,
    "secondsLeft": 900,
    "note": None,
}
"""An association in every JSON answer, for ever: programs rely on it."""


def test_json_is_the_replies_and_nothing_else(served: Served) -> None:
    """One document, or one object a line; SPIs are numbers, no field is added or lost."""
    served.put(at("a1"), at("a2"))
    flow = ("10.10.0.2:6300", "10.10.0.1:5064")
    second = GOLDEN | {"id": "a2"}
    rows = served.sadctl("list", "--json").out.splitlines()
    found = json.loads(served.sadctl("find", *flow, "--json").out)
    shown = json.loads(served.sadctl("--json", "show", "a1").out)
    status = json.loads(served.sadctl("--json").out)
    reconciled = json.loads(served.sadctl("reconcile", "--json").out)
    released = json.loads(served.sadctl("release", "a1", "--json").out)

    assert [json.loads(row) for row in rows] == [{"association": GOLDEN}, {"association": second}]
    assert found == {"association": GOLDEN, "outbound": GOLDEN}
    assert set(shown) == {"association", "counters", "policies", "history"}
    assert shown["association"] == GOLDEN
    assert isinstance(shown["counters"][0]["spi"], int)
    assert {"version", "endpoints", "associations", "lastProblem"} < set(status)
    assert set(reconciled) == {"reconcile", "findings"}
    assert reconciled["findings"] is None
    ended = {"state": "ended", "endReason": "released", "secondsLeft": 0}
    assert released == {"associations": [GOLDEN | ended]}


def test_no_answer_holds_a_key(served: Served) -> None:
    """Not even a field that could: keys go into sad and never come out."""
    served.put(at("a1"))
    said = [
        served.sadctl(*verb, *form).out
        for verb in (("status",), ("list",), ("show", "a1"))
        for form in ((), ("--json",))
    ]

    assert all("Key" not in out and make.IK.hex() not in out.lower() for out in said)


def test_show_takes_the_beginning_of_an_id(served: Served) -> None:
    """As long as it is the beginning of one only; a whole id always means itself."""
    served.put(at("abc1"), at("abd2"), at("abd2f"))

    assert served.sadctl("show", "abc").out.startswith("association: abc1\n")
    assert served.sadctl("show", "abd2").out.startswith("association: abd2\n")
    assert served.sadctl("show", "ab") == (
        1,
        "",
        "sadctl: ab begins more than one id\nhint: write more of it: abc1, abd2, abd2f\n",
    )
    assert served.sadctl("show", "zz") == (
        1,
        "",
        (
            "sadctl: no association has an id that begins with zz\n"
            "hint: it may have ended: sadctl list shows those that live\n"
        ),
    )


def test_too_many_candidates_are_cut_short(served: Served) -> None:
    """A single letter over many associations ends early and says so."""
    served.put(*(at(f"a{number}") for number in range(12)))
    said = served.sadctl("show", "a")

    assert said.err.endswith("a0, a1, a2, a3, a4, a5, a6, a7, ...\n")


def test_show_has_a_block_for_each_sa(served: Served) -> None:
    """State, identity, and SA1 to SA4 with SPIs in hex."""
    served.put(at("a1", UE_V6))
    said = served.sadctl("show", "a1")

    assert (said.code, said.err) == (0, "")
    assert [line for line in said.out.splitlines() if line.startswith("SA")] == [
        "SA1: in",
        "SA2: out",
        "SA3: out",
        "SA4: in",
    ]
    assert "  spi: 0x00011172\n" in said.out
    assert f"  from: [{UE_V6}]:6301 (UE client)\n" in said.out


def test_find_names_the_association_of_a_flow(served: Served) -> None:
    """IPv4 and IPv6; a flow that nobody protects is not found."""
    v6 = make.sa_set(ue_address=UE_V6, pcscf_address="2001:db8:1::1")
    served.put(at("a1"), make.association(id="a2", sa_set=v6))

    assert served.sadctl("find", "10.10.0.2:6300", "10.10.0.1:5064").out.startswith(
        "association: a1\n"
    )
    assert served.sadctl("find", f"[{UE_V6}]:6301", "[2001:db8:1::1]:5064").out.startswith(
        "association: a2\n"
    )
    missed = served.sadctl("find", "10.10.0.9:6300", "10.10.0.1:5064")
    assert (missed.code, missed.out) == (1, "")
    assert missed.err.startswith("sadctl: no association protects this flow\nhint: ")


@pytest.mark.parametrize(
    ("whom", "left"),
    [
        (("a1",), ["a2", "b3"]),
        (("b",), ["a1", "a2"]),
        (("--impi", "x"), ["a1", "b3"]),
        (("--peer", "10.10.0.3"), ["a1", "a2"]),
    ],
)
def test_release_by_id_identity_or_peer(
    served: Served, whom: tuple[str, ...], left: list[str]
) -> None:
    """Each way ends what it names and nothing else (K10)."""
    served.put(at("a1"), at("a2", private_identity="x"), at("b3", "10.10.0.3"))
    said = served.sadctl("release", *whom)

    assert (said.code, said.err) == (0, "")
    assert said.out.endswith("\n1 association released\n")
    assert list(served.backend.associations) == left


def test_release_never_guesses(served: Served) -> None:
    """A beginning of two ids ends neither; a miss says so."""
    served.put(at("a1"), at("a2"))

    assert served.sadctl("release", "a").code == 1
    assert served.sadctl("release", "c").code == 1
    assert served.sadctl("release", "--impi", "nobody").code == 1
    assert list(served.backend.associations) == ["a1", "a2"]


def test_reconcile_says_what_it_did(served: Served) -> None:
    """The report in one line."""
    served.put(at("a1"))

    assert served.sadctl("reconcile") == (0, "reconcile: 1 adopted\n", "")


def test_the_role_of_a_user_agent_turns_the_picture(served: Served) -> None:
    """The peer of a UE is the P-CSCF, and SA1 goes out."""
    served.put(make.association(id="a1", sa_set=make.sa_set(role=Role.UE)))

    assert make.EDGE_ADDRESS in served.sadctl("list").out
    assert "SA1: out\n" in served.sadctl("show", "a1").out


def test_the_environment_names_the_socket(
    served: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """SAD_SOCKET stands in for --socket, and --socket wins."""
    monkeypatch.setenv("SAD_SOCKET", str(served.path))
    assert main(["status"]) == 0

    monkeypatch.setenv("SAD_SOCKET", "/nonexistent")
    assert served.sadctl("status").code == 0
    assert main(["status"]) == 3
    assert "/nonexistent" in capsys.readouterr().err


def test_show_holds_policies_and_history(served: Served) -> None:
    """The association whole: what the kernel's table says of its hosts, and how it came so far."""
    served.put(at("a1"))

    assert served.sadctl("show", "a1").out.endswith(
        "policies:\n"
        "  out: allow 10.10.0.1:5064 -> 10.10.0.2:6300 (priority 2000, reqid 7)\n"
        "\n"
        "history:\n"
        "  installed: " + served.sadctl("show", "a1").out.rsplit("installed: ", 1)[1]
    )


def test_list_takes_mechanisms_and_spans(served: Served) -> None:
    """Filters that the daemon applies."""
    served.put(at("a1"))

    assert served.ids("--mechanism", "ipsec-3gpp") == ["a1"]
    assert served.ids("--mechanism", "tls") == []
    assert served.ids("--expires-within", "1s") == []
    assert served.ids("--expires-within", "400d") == ["a1"]


def test_a_dry_run_says_what_would_be_done(served: Served) -> None:
    """And does nothing."""
    said = served.sadctl("reconcile", "--dry-run")

    assert said == (0, "would be: 1 repaired\n  repair: policy in a -> b is missing\n", "")
    assert "reconcile" not in served.backend.begun


def test_a_flow_is_explained_by_the_daemon(served: Served) -> None:
    """Two addresses with ports are a flow; anything else is a header, and needs no daemon."""
    said = served.sadctl("explain", "10.10.0.2:6300", "10.10.0.1:5064")
    assert (said.code, said.err) == (0, "")
    assert said.out == (
        "endpoint: access\n"
        "association: none protects this flow\n"
        "\n"
        "in: 10.10.0.2:6300 -> 10.10.0.1:5064\n"
        "  verdict: dropped\n"
        "  policy: block\n"
        "  hint: look\n"
    )
    assert served.sadctl("explain", "tls").out.startswith("Security-Client: 1 element")


def test_check_says_each_thing_and_fails_with_1(served: Served) -> None:
    """What is only worth a warning is no failure."""
    said = served.sadctl("check")

    assert (said.code, said.err) == (0, "")
    assert said.out.startswith(
        "ok      capability: held\nwarning ESP: looked at\n        hint: modprobe esp4\n"
    )
    assert " clock: " in said.out
    served.backend.operator.esp = Fitness.FAILED
    said = served.sadctl("check")
    assert (said.code, said.err) == (
        1,
        "sadctl: 1 check failed\nhint: each one says what to do\n",
    )
    assert {r["what"] for r in json.loads(served.sadctl("check", "--json").out)["results"]} >= {
        "capability",
        "ESP",
        "clock",
    }


def test_top_is_for_terminals(served: Served) -> None:
    """A program is told what to use instead."""
    said = served.sadctl("top")

    assert (said.code, said.out) == (2, "")
    assert "sadctl status --json" in said.err


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (0, "ok      guard: its rules are in force"),
        (1, "warning guard: no rules keep clear text off without the daemon"),
    ],
)
def test_check_asks_the_guard_beside_it(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, line: str
) -> None:
    """The program of the same installation, also through a link from elsewhere."""
    home = tmp_path / "there"
    home.mkdir()
    guard = home / "sad-guard"
    guard.write_text(f'#!/bin/sh\ntest "$*" = show || exit 9\nexit {status}\n')
    guard.chmod(0o755)
    (home / "sadctl").touch()
    (tmp_path / "sadctl").symlink_to(home / "sadctl")
    monkeypatch.setattr("sys.argv", [str(tmp_path / "sadctl")])
    monkeypatch.setattr("os.geteuid", lambda: 0)

    assert line in served.sadctl("check").out.splitlines()
