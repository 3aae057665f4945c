"""``sad --check-config``: what an operator reads."""

import io
import os
import re
from pathlib import Path

import pytest

from sad.config import EX_CONFIG, check_config

GOOD = """\
[[endpoint]]
name = "edge"
addresses = ["192.0.2.1", "2001:db8::1"]
server_port = 5064
client_ports = "5068-5071"
users = ["kamailio", 998]
"""


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("SAD_"):
            monkeypatch.delenv(name)


def resolve(name: str) -> int:
    return {"kamailio": 998, "adm": 4}[name]


def check(folder: Path, text: str) -> tuple[int, str, str]:
    path = folder / "sad.toml"
    path.write_text(text)
    path.chmod(0o644)
    stdout, stderr = io.StringIO(), io.StringIO()
    code = check_config(
        ["--config", str(path)],
        resolve_user=resolve,
        resolve_group=resolve,
        stdout=stdout,
        stderr=stderr,
    )
    return code, stdout.getvalue(), stderr.getvalue().replace(f"{folder}/", "")


def test_a_good_file_is_summed_up(tmp_path: Path) -> None:
    """Status 0, and what would run: socket, spans, and each endpoint with ports and users."""
    code, stdout, stderr = check(tmp_path, GOOD)

    assert (code, stderr) == (0, "")
    for expected in (
        "settings: ",
        "socket: /run/sad.sock, mode 0660",
        "SAs and policies stay when the daemon stops",
        "retiring 128 s",
        "endpoint edge: 192.0.2.1 2001:db8::1",
        "ports: server 5064, client 5068-5071",
        "users: kamailio, 998; roles: edge",
        "algorithms: hmac-sha-1-96/aes-cbc, hmac-sha-1-96/null",
    ):
        assert expected in stdout
    assert "warning" not in stdout


def test_a_file_without_endpoints_says_so(tmp_path: Path) -> None:
    """Legal, and useless."""
    code, stdout, _ = check(tmp_path, "")

    assert code == 0
    assert "no endpoint: nothing can be installed" in stdout


def test_loosened_rules_are_warned_of(tmp_path: Path) -> None:
    """IPS-6: switching a withdrawn algorithm on is pointed out; so is every loosened check."""
    code, stdout, _ = check(
        tmp_path,
        GOOD + 'algorithms = ["hmac-md5-96/null"]\naccept_withdrawn_algorithms = true\n'
        "accept_reserved_spi = true\naccept_sip_port = true\n",
    )

    assert code == 0
    assert len(re.findall("warning: ", stdout)) == 3
    assert "hmac-md5-96 withdrawn" in stdout


@pytest.mark.parametrize("pair", ["null/aes-gcm", "aes-gmac/null"])
def test_one_key_for_four_associations_is_warned_of(tmp_path: Path, pair: str) -> None:
    """T33-I-b: what this node cannot enforce of the user agents is said aloud."""
    code, stdout, _ = check(tmp_path, GOOD + f'algorithms = ["{pair}"]\n')

    assert code == 0
    assert "no IV twice" in stdout


def test_kept_keys_are_warned_of(tmp_path: Path) -> None:
    """Design 8: that a daemon keeps keys, and what else its rebuilding costs, is said aloud."""
    code, stdout, _ = check(tmp_path, 'on_kernel_loss = "rebuild"\n' + GOOD)

    assert code == 0
    assert "warning: what the kernel loses is rebuilt: keys are kept (sealed)" in stdout


def test_every_problem_stands_on_its_own_line_with_place_and_way_out(tmp_path: Path) -> None:
    """``file:line: key: reason; hint``, in the order of the file, whatever form the TOML has."""
    text = """\
log_level = "loud"
lifetimes.t1_milliseconds = "x"
kernel = { policy_priority = 2, replay_window = 65 }
[limits]
max_sets = 2

[[endpoint]]
name = "Edge"
addresses = [
  # the loopback interface is no access network
  "127.0.0.1",
]
server_port = 5060
client_ports = "5067-5070"
users = ["kamailio"]

[[endpoint]]
name = "two"
addresses = "192.0.2.1"
users = []
client_ports = "5068-5071"
"""

    code, stdout, stderr = check(tmp_path, text)

    assert (code, stdout) == (EX_CONFIG, "") == (78, "")
    places = [tuple(line.split(": ")[:2]) for line in stderr.splitlines()]
    assert places == [
        ("sad.toml:1", "log_level"),
        ("sad.toml:2", "lifetimes.t1_milliseconds"),
        ("sad.toml:3", "kernel.replay_window"),
        ("sad.toml:5", "limits.max_sets"),
        ("sad.toml:8", "endpoint[0].name"),
        ("sad.toml:11", "endpoint[0].addresses[0]"),
        ("sad.toml:13", "endpoint[0].server_port"),
        ("sad.toml:14", "endpoint[0].client_ports"),
        ("sad.toml:17", "endpoint[1].server_port"),
        ("sad.toml:20", "endpoint[1].users"),
    ]
    for line in stderr.splitlines():
        assert re.fullmatch(r"sad\.toml:\d+: \S+: [^;]+; .+", line)


def test_rules_between_settings_are_all_found_with_their_lines(tmp_path: Path) -> None:
    """Rules that need several values blame one line each, inside an endpoint and between two."""
    twin = GOOD.replace('"edge"', '"twin"')

    _, _, stderr = check(tmp_path, "[kernel]\npolicy_priority = 3_500_000_000\n" + GOOD + twin)
    assert [line.split(": ")[0] for line in stderr.splitlines()] == [
        "sad.toml:1",  # block_clear_priority is not in the file: its default is too small
        "sad.toml:13",
        "sad.toml:13",
    ]

    _, _, stderr = check(
        tmp_path, GOOD.replace("5064", "5068") + 'algorithms = ["hmac-md5-96/null"]'
    )
    assert [line.split(": ")[:2] for line in stderr.splitlines()] == [
        ["sad.toml:4", "endpoint[0].server_port"],
        ["sad.toml:7", "endpoint[0].algorithms[0]"],
    ]


def test_accounts_that_do_not_exist_are_errors_with_a_way_out(tmp_path: Path) -> None:
    """Who may install is never guessed: an unknown name stops the daemon before it starts."""
    text = 'socket_group = "sad"\nstatus_groups = [\n "adm",\n "nobodys",\n]\n' + GOOD.replace(
        '"kamailio"', '"opensips"'
    )

    code, _, stderr = check(tmp_path, text)

    assert code == EX_CONFIG
    user, group, owner = stderr.splitlines()
    assert user.startswith('sad.toml:11: endpoint[0].users[0]: there is no user "opensips"; ')
    assert group.startswith('sad.toml:4: status_groups[1]: there is no group "nobodys"; ')
    assert owner.startswith('sad.toml:1: socket_group: there is no group "sad"; ')
    assert "groupadd --system sad" in owner


def test_a_foreign_variable_is_mentioned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is ignored is said."""
    monkeypatch.setenv("SAD_EYES", "1")

    assert "ignored: environment SAD_EYES is no setting" in check(tmp_path, GOOD)[1]
