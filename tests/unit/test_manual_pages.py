"""The manual pages and completions say what the code says, and are well-formed."""

import re
import subprocess
from pathlib import Path

import pytest
from pydantic import BaseModel

from sad import __main__ as daemon
from sad.api.interfaces import load_interfaces
from sad.config import Settings
from sad.ctl.failures import Exit
from sad.ctl.parser import VERBS
from sad.manual.__main__ import main
from sad.manual.pages import PAGES, page
from sad.manual.roff import to_roff
from sad.manual.settings import table_in

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("manual")
    assert main([str(made)]) == 0
    return made


def flat(text: str) -> str:
    """Text without its lines."""
    return " ".join(text.split())


def shown(folder: Path, name: str) -> str:
    """A page as a reader sees it, with lines that hold all but the longest paragraphs."""
    section = name.rpartition(".")[2]
    done = subprocess.run(
        ["mandoc", "-T", "utf8", "-O", "width=1000", folder / f"man/man{section}/{name}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return re.sub(r".\x08", "", done.stdout)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_well_formed(folder: Path, name: str) -> None:
    """Mandoc finds nothing but that there is no date: the version tells the age."""
    section = name.rpartition(".")[2]
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", folder / f"man/man{section}/{name}"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert [line for line in done.stdout.splitlines() if "missing date" not in line] == []
    assert "{{" not in shown(folder, name)


def test_sadctl_explains_every_verb_option_and_exit_code(folder: Path) -> None:
    """What --help knows, the page knows."""
    text = shown(folder, "sadctl.1")

    for verb in VERBS:
        assert re.search(rf"^\s+{verb.name}$", text, re.MULTILINE), verb.name
        assert verb.help[1:] in flat(text)
    for option in ("--json", "--socket", "--timeout", "--linger", "--impi", "--algorithms"):
        assert re.search(rf"^\s+{option}\b", text, re.MULTILINE), option
    for code in Exit:
        assert re.search(rf"^\s+{int(code)}\s+{code.meaning}$", text, re.MULTILINE), code


def test_every_setting_is_explained_with_its_default(folder: Path) -> None:
    """No key of any table is missing."""
    text = shown(folder, "sad.toml.5")
    models: list[type[BaseModel]] = [Settings]
    for model in models:  # grows meanwhile
        found = (table_in(field.annotation) for field in model.model_fields.values())
        models += [kind for kind in found if kind is not None]
    keys = {
        (name, str(field.description))
        for model in models
        for name, field in model.model_fields.items()
        if table_in(field.annotation) is None
    }
    assert len(keys) > 40
    for name, description in keys:
        assert re.search(rf"^\s+{name}\s", text, re.MULTILINE), name
        assert description in flat(text)
    assert "Permissions of that socket, e.g. 0o660. Whole number. Default: 0o660." in text
    assert "1 to 3600. Default: 240." in text


def test_the_socket_page_holds_every_member_of_every_interface(folder: Path) -> None:
    """Methods, types and errors with their comments."""
    text = shown(folder, "sad-socket.7")

    for interface in load_interfaces().values():
        for name in (*interface.methods, *interface.types, *interface.errors):
            assert re.search(rf"\b{name}\b", text), name
            assert flat(interface.comments[name]) in flat(text)
    assert "a message has at most 64 KiB" in text


def test_the_daemons_page_tells_every_exit_status(folder: Path) -> None:
    """And those that the unit does not try again are said to be so."""
    text = shown(folder, "sad.8")
    unit = (ROOT / "systemd/sad.service").read_text()

    final = re.search(r"RestartPreventExitStatus=(.*)", unit)
    assert final is not None
    for status, meaning in daemon.EXIT_STATUS.items():
        assert re.search(rf"^\s+{status}\s+{re.escape(meaning)}$", text, re.MULTILINE)
        assert ("it is not tried again" in meaning) == (str(status) in final[1].split())
    assert re.search(r"^\s+--check-config\s", text, re.MULTILINE)
    assert "--log-level=" not in text


def test_pages_name_each_other_as_they_are_called() -> None:
    """What stands under See also is a page of ours, or of a package that is known."""
    known = {f"{name.rpartition('.')[0]}({name[-1]})" for name in PAGES}
    foreign = {"ip-xfrm(8)", "nft(8)", "iptables(8)", "man(7)"}

    for name in PAGES:
        found = set(re.findall(r"\b[a-z][a-z.-]*\([1-8]\)", page(name)))
        assert found <= known | foreign


def test_roff_changes_nothing_that_is_typed() -> None:
    """Hyphens can be pasted, a line with a dot is no request, backslashes stay."""
    text = to_roff(
        "# x(1): y\n\n## A\n\n.PP is text\n\n- one `--a\\b`\n\n```\n.TH\n'q ~^\n```\n", version="1"
    )

    assert text.splitlines() == [
        '.TH "x" 1 "" "sad 1" "sad"',
        ".nh",
        ".ad l",
        ".SH NAME",
        "x \\- y",
        ".SH A",
        "\\&.PP is text",
        ".IP \\- 2",
        "one \\fB\\-\\-a\\eb\\fR",
        ".PP",
        ".RS 4",
        ".nf",
        "\\&.TH",
        "\\&'q \\(ti\\(ha",
        ".fi",
        ".RE",
    ]


def test_bash_completes_verbs_and_their_options(folder: Path) -> None:
    """The script runs in a real bash: verbs first, then what a verb takes."""
    script = folder / "completions/bash/sadctl"

    def completions(*words: str) -> set[str]:
        line = " ".join(words)
        code = (
            f"source {script}; COMP_WORDS=({' '.join(repr(w) for w in words)}); "
            f"COMP_CWORD={len(words) - 1}; COMP_LINE={line!r}; COMP_POINT={len(line)}; "
            "_shtab_sadctl; printf '%s\\n' \"${COMPREPLY[@]}\""
        )
        done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
        return {word.strip() for word in done.stdout.split()}

    assert {verb.name for verb in VERBS} <= completions("sadctl", "")
    assert completions("sadctl", "rec") == {"reconcile"}
    assert {"--peer", "--impi", "--linger"} <= completions("sadctl", "release", "--")


def test_zsh_gets_a_script_of_its_own(folder: Path) -> None:
    """It names each verb with its help; zsh is not among the tests' packages."""
    script = (folder / "completions/zsh/_sadctl").read_text()

    assert script.startswith("#compdef sadctl\n")
    for verb in VERBS:
        assert f"    {verb.name}:'" in script


def test_no_folder_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """One clear line."""
    assert main([]) == 2
    assert capsys.readouterr().err == "usage: python -m sad.manual FOLDER\n"
