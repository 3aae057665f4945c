"""Key files of ipsec-man: what may be read at all, and what ``--check-config`` says of them."""

import datetime as dt
import io
import os
import pwd
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sad.config import check_config
from sad.core.key_judgement import judge
from sad.keys.check import check_keys
from sad.keys.files import file_fault, parse, trusted_accounts
from sad.keys.load import LoadedKeys, load_keys
from sad.keys.shape import KeySetSettings
from tests.support.key_files import (
    DAY,
    ENCRYPTION_KEY,
    ENDPOINTS,
    INTEGRITY_KEY,
    NOW,
    assert_no_key,
    instant,
    key_set,
    line_of,
    load,
    successor,
    toml,
    write,
)

#: What is wrong with the text -> the text, the line, words of the reason.
BAD_TEXTS: dict[str, tuple[bytes, str, str]] = {
    "no TOML": (b"[[key_set]]\nname = 'a'\nintegrity_key = 0f1e2d3c\n", ":3", "no TOML"),
    "torn": (b"[[key_set]]\nname = 'a", ":1", "no TOML"),
    "no UTF-8": (b"[[key_set]]\nname = '\xff'\n", ":2", "no UTF-8"),
    "nested": (b"key_set = " + b"[" * 50_000, ":1", "no TOML"),
    "a number without end": (b"x = 1\ny = " + b"1" * 5000, ":2", "no TOML"),
    "no set": (b"# nothing yet\n", "", "no key set in it"),
    "one bracket": (b"[key_set]\nname = 'a'\n", ":1", "no list of tables"),
    "another table": (b"# keys\n[[keys]]\nname = 'a'\n", ":2", "unknown table or key"),
}


@pytest.mark.parametrize("case", BAD_TEXTS)
def test_a_bad_text_is_refused_with_its_line(case: str) -> None:
    """The reason is ours: the parser's own might repeat what stands there."""
    content, line, words = BAD_TEXTS[case]

    file = parse(content, "bad.toml")

    (problem,) = file.problems
    assert file.drafts == ()
    assert words in problem.reason
    if line == ":1":  # where a torn text ends is the parser's to say
        assert problem.origin.startswith("bad.toml:")
    else:
        assert problem.origin == f"bad.toml{line}"


def _symbolic_link(path: Path) -> None:
    target = path.with_name("elsewhere")
    path.rename(target)
    path.symlink_to(target)


def _hard_link(path: Path) -> None:
    path.with_name("elsewhere").hardlink_to(path)


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir(mode=0o700)


def _large(path: Path) -> None:
    with path.open("a") as file:
        file.write("#" * (1 << 20))


#: What was done to a good file -> words of the reason.
BAD_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "world-readable": (lambda path: path.chmod(0o604), "every user may read or write it"),
    "world-writable": (lambda path: path.chmod(0o602), "every user may read or write it"),
    "group-writable": (lambda path: path.chmod(0o620), "its group may write it"),
    "symbolic link": (_symbolic_link, "symbolic link"),
    "hard link": (_hard_link, "hard link"),
    "named pipe": (_fifo, "no regular file"),
    "folder": (_folder, "no regular file"),
    "very large": (_large, "more than 1048576 bytes"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_file_that_is_not_kept_well_is_refused(tmp_path: Path, case: str) -> None:
    """What others can read or replace is no secret; the other files are not disturbed."""
    spoil, words = BAD_FILES[case]
    spoil(write(tmp_path / "bad.toml", key_set()))
    write(tmp_path / "other.toml", successor())

    found = load(tmp_path)

    (problem,) = found.problems
    assert problem.origin == f"{tmp_path}/bad.toml"
    assert words in problem.reason
    assert [s.name for s in found.sets] == ["new"]
    assert found.doubtful == {f"{tmp_path}/bad.toml"}


def status(**changes: int) -> os.stat_result:
    values = {"mode": stat.S_IFREG | 0o640, "uid": 990, "gid": 990, "links": 1} | changes
    fields = (values["mode"], 1, 1, values["links"], values["uid"], values["gid"], 100, 0, 0, 0)
    return os.stat_result(fields)


def test_whose_file_it_may_be() -> None:
    """Root's or the daemon's own, readable by a group only if the daemon is of it."""
    for good in (status(), status(uid=0), status(uid=0, gid=0), status(gid=7, mode=0o100600)):
        assert file_fault(good, {0, 990}, {0, 990}) is None
    for bad, words in (
        (status(uid=1000), "belongs to uid 1000"),
        (status(gid=7), "gid 7 may read it"),
    ):
        fault = file_fault(bad, {0, 990}, {0, 990})
        assert fault is not None
        assert words in fault[0]


def test_root_asks_for_the_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    """``sudo sad --check-config`` judges as sad itself would: by its user and group."""
    entry = pwd.struct_passwd(("sad", "x", 990, 991, "", "/run/sad", "/usr/sbin/nologin"))
    its_own = status(uid=990, gid=991)
    monkeypatch.setattr(pwd, "getpwnam", {"sad": entry}.__getitem__)
    monkeypatch.setattr(os, "geteuid", lambda: 815)
    assert file_fault(its_own, *trusted_accounts()) is not None

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert file_fault(its_own, *trusted_accounts()) is None
    monkeypatch.setattr(pwd, "getpwnam", {}.__getitem__)
    assert file_fault(its_own, *trusted_accounts()) is not None


def test_a_directory_that_everybody_can_change_has_no_keys(tmp_path: Path) -> None:
    """Who can rename a file decides which keys hold."""
    write(tmp_path / "a.toml", key_set())
    tmp_path.chmod(0o777)

    found = load(tmp_path)

    assert found.sets == ()
    assert [p.reason for p in found.problems] == ["every user may change this directory"]


def test_no_directory_no_keys(tmp_path: Path) -> None:
    """Who does not use manual keys never hears of them; hidden and other files are nobody's."""
    assert load(tmp_path / "nowhere") == LoadedKeys()
    for name in (".a.toml.swp", ".a.toml", "README"):
        write(tmp_path / name, key_set(), mode=0o644)
    assert load(tmp_path) == LoadedKeys()


def test_credentials_of_the_service_manager_are_read_too(tmp_path: Path) -> None:
    """systemd.exec(5): LoadCredential=sad-keys:/etc/sad/keys.d makes sad-keys_peer.toml of one."""
    folder = tmp_path / "credentials"
    folder.mkdir()
    write(folder / "sad-keys_peer.toml", key_set(), mode=0o400)
    write(folder / "sad-seal", successor(), mode=0o400)

    environment = {"CREDENTIALS_DIRECTORY": str(folder)}
    found = load_keys(str(tmp_path / "none"), environment, ENDPOINTS, now=NOW)

    assert [s.origin for s in found.sets] == [f"{folder}/sad-keys_peer.toml:2"]


def test_what_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file without permission, and a directory that is none."""
    path = tmp_path / "file"
    path.write_text("")
    assert load(path).problems[0].reason == "Not a directory"
    write(tmp_path / "a.toml", key_set())

    def refuse(*_: object, **__: object) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "read", refuse)
    assert [p.reason for p in load(tmp_path).problems] == ["Permission denied"]


GOOD = toml(key_set(), successor()).encode()


@given(at=st.integers(0, len(GOOD)), cut=st.integers(0, 40), put=st.binary(max_size=12))
def test_no_text_makes_it_fail_or_tell_a_key(at: int, cut: int, put: bytes) -> None:
    """Whatever somebody's editor or disk did to a file: problems with a place, or sets."""
    file = parse(GOOD[:at] + put + GOOD[at + cut :], "a.toml")

    judge([read.draft for read in file.drafts], ENDPOINTS, now=NOW)
    assert file.drafts or file.problems
    for problem in file.problems:
        assert problem.origin.startswith("a.toml")
        assert_no_key(str(problem))


def test_toml_text_of_the_support_is_read_back() -> None:
    """The helper writes what the parser reads."""
    assert len(parse(toml(key_set(), successor()).encode(), "x").drafts) == 2


EXAMPLE = Path(__file__).resolve().parents[2] / "systemd/keys.toml.example"


def test_the_shipped_example_lacks_nothing_but_keys(tmp_path: Path) -> None:
    """Its keys are zeros, so that nobody goes on air with them; every field is shown."""
    text = EXAMPLE.read_text()
    for name in KeySetSettings.model_fields:
        assert re.search(rf"\b{name}\b", text), name
    path = tmp_path / "edge-b.toml"
    path.write_text(text.replace("192.0.2.7", "10.10.0.7"))
    path.chmod(0o600)

    found = load(tmp_path)

    assert [p.reason for p in found.problems] == ["anybody would guess it"] * 2
    path.write_text(
        text.replace('"' + "0" * 64, '"' + INTEGRITY_KEY, 1).replace(
            "00" * 32, "1" * 32 + ENCRYPTION_KEY
        )
    )
    assert [s.name for s in load(tmp_path).sets] == ["edge-b-2027"]


def check(folder: Path, *sets: dict[str, Any], accept: bool = True) -> tuple[int, str, str]:
    """Run ``--check-config`` with a peering endpoint and these sets."""
    keys = folder / "keys.d"
    keys.mkdir(exist_ok=True)
    write(keys / "a.toml", *sets)
    path = folder / "sad.toml"
    path.write_text(
        f'key_directory = "{keys}"\n[[endpoint]]\nname = "peering"\naddresses = ["10.10.0.1"]\n'
        'server_port = 5064\nclient_ports = "5068-5069"\nusers = [0]\nprofile = "rfc3329"\n'
        f'mechanisms = ["ipsec-man"]\naccept_unreplayed_verify = {str(accept).lower()}\n'
    )
    out, err = io.StringIO(), io.StringIO()
    code = check_config(["--config", str(path)], check_keys=check_keys, stdout=out, stderr=err)
    return code, out.getvalue(), err.getvalue().replace(f"{folder}/", "")


def test_check_config_covers_the_key_files(tmp_path: Path) -> None:
    """Status 78 with line and reason, or what would be used; an expired set is a warning."""
    now = dt.datetime.now(tz=dt.UTC).timestamp()
    valid = {"not_before": instant(now - DAY), "not_after": instant(now + DAY)}
    past = key_set(not_before=instant(now - 2 * DAY), not_after=instant(now - DAY))

    code, out, err = check(tmp_path, past, successor(**valid))
    assert (code, err) == (0, "")
    assert "key set new: 10.10.0.2 on endpoint peering, " in out
    assert "warning: " in out
    assert "old.not_after: expired on " in out
    assert_no_key(out)

    code, out, err = check(tmp_path, key_set(**valid, spi_in=77))
    assert (code, out) == (78, "")
    assert err == (
        f"keys.d/a.toml:{line_of('spi_in', key_set())}: old.spi_in: SPIs 1 to 255 are reserved by "
        "IANA (IPS-1); agree on an SPI of 256 or more\n"
    )


def test_ipsec_man_is_refused_at_start_unless_the_endpoint_accepts_it(tmp_path: Path) -> None:
    """R3329-5-a, IPS-2: without replay protection only if somebody says so, and then warned."""
    now = dt.datetime.now(tz=dt.UTC).timestamp()
    valid = key_set(not_before=instant(now - DAY), not_after=instant(now + DAY))

    code, _, err = check(tmp_path, valid, accept=False)
    assert code == 78
    assert "ipsec-man: manually keyed SAs have no replay protection (R3329-5-a)" in err
    assert "accept_unreplayed_verify = true" in err

    code, out, _ = check(tmp_path, valid)
    assert code == 0
    assert (
        "  warning: ipsec-man may be listed: manually keyed SAs have no replay protection" in out
    )
