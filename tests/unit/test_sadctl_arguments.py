"""What people type: addresses, flows, states, spans; anything else is usage (exit code 2)."""

import re

import pytest

from sad.ctl import arguments
from sad.ctl.__main__ import main
from sad.ctl.parser import VERBS, build_parser


def test_a_flow_is_written_as_people_write_it() -> None:
    """IPv6 stands in brackets, IPv4 does not."""
    assert arguments.socket_address("10.0.0.1:5060") == ("10.0.0.1", 5060)
    assert arguments.socket_address("[2001:db8::1]:65535") == ("2001:db8::1", 65535)


@pytest.mark.parametrize("text", ["inUse", "in-use", "INUSE", "inuse"])
def test_a_state_may_be_written_loosely(text: str) -> None:
    """But it goes over the wire by its own name."""
    assert arguments.state(text) == "inUse"


@pytest.mark.parametrize(
    "line",
    [
        "bogus",
        "show",
        "show ",
        "show a b",
        "find 10.0.0.1:5060",
        "find 10.0.0.1 10.0.0.2:5060",
        "find ::1:5060 10.0.0.2:5060",
        "find 10.0.0.1:0 10.0.0.2:5060",
        "find 10.0.0.1:65536 10.0.0.2:5060",
        "find 10.0.0.1:+5 10.0.0.2:5060",
        "find 10.0.0.1:٣ 10.0.0.2:5060",
        "find 10.0.0:5060 10.0.0.2:5060",
        "find [fe80::1%eth0]:5060 [fe80::2]:5060",
        "list --peer ue.example",
        "list --state alive",
        "list --js",
        "release",
        "release abc --impi x",
        "release --impi x --peer 10.0.0.1",
        "release abc --linger -1",
        "release abc --linger 1.5",
        "status --timeout 0",
        "status --timeout nan",
        "status --timeout soon",
    ],
)
def test_wrong_usage_ends_with_two_and_says_why(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is guessed, nothing is sent, and standard output stays clean."""
    with pytest.raises(SystemExit) as ended:
        main(["--socket", "/nonexistent", *line.split(" ")])

    said = capsys.readouterr()
    assert ended.value.code == 2
    assert said.out == ""
    told, hint = said.err.splitlines()
    assert told.startswith("sadctl")
    assert re.fullmatch(r"hint: sadctl( [a-z]+)* --help", hint)


@pytest.mark.parametrize("verb", [verb.name for verb in VERBS])
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """--help works for each and fits a terminal."""
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args([verb, "--help"])

    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert shown.startswith(f"usage: sadctl {verb} ")
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize("line", ["--json --socket x list", "list --socket x --json"])
def test_common_options_stand_before_or_behind_the_verb(line: str) -> None:
    """Both orders mean the same."""
    args = build_parser().parse_args(line.split())

    assert (args.verb, args.json, args.socket, args.timeout) == ("list", True, "x", None)
