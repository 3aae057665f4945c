"""Every link of the documentation leads somewhere, and every command in it runs."""

import contextlib
import re
import shlex
import subprocess
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from sad.ctl.__main__ import main as sadctl
from sad.ctl.parser import build_parser
from tests.docs.diagrams import PAGES, made
from tests.support import make
from tests.support.api import serving_in_thread
from tests.support.tree import ROOT, project_files

DOCUMENTS = [path for path in project_files() if path.suffix == ".md"]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`[^`]*`")

#: Commands that another test runs, that need a machine of their own, or that ask the kernel.
_ELSEWHERE = {
    "printf": "tests/unit/test_client_shell.py",
    "(printf": "tests/unit/test_client_shell.py",
    "python3": "tests/unit/test_client_shell.py",
    "cc": "tests/unit/test_examples.py",
    "./hook": "tests/unit/test_examples.py",
    "sip_hooks/examples/hook.sh": "tests/unit/test_examples.py",
    "curl": "tests/unit/test_metrics_page.py",
}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def prose(path: Path) -> str:
    """A document without its blocks of code."""
    return _FENCE.sub("", path.read_text())


def anchors(path: Path) -> set[str]:
    """The anchors that a page's headings give, as forges make them."""
    heads = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("path", DOCUMENTS, ids=relative)
def test_every_link_leads_somewhere(path: Path) -> None:
    """To a file of this tree and a heading in it; the net is not asked."""
    for target in _LINK.findall(_CODE.sub("", prose(path))):
        parts = urllib.parse.urlsplit(target)
        if parts.scheme:
            assert parts.scheme == "https", target
            assert "." in parts.netloc, target
            continue
        found = path if not parts.path else (path.parent / parts.path).resolve()
        assert found.exists(), target
        if parts.fragment:
            assert parts.fragment in anchors(found), target


def test_every_page_can_be_found() -> None:
    """From the README, or from a page that is."""
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        targets = (urllib.parse.urlsplit(t) for t in _LINK.findall(prose(page)))
        waiting += [(page.parent / t.path).resolve() for t in targets if t.path and not t.scheme]

    pages = {path for path in DOCUMENTS if path.parent != ROOT / "sad/manual"}
    assert {relative(path) for path in pages - reached} == set()


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_what_is_made_of_the_code_is_what_the_code_says(page: Path) -> None:
    """``python -m tests.docs.diagrams`` writes it anew."""
    assert page.read_text() == made(page.read_text())


def shell_lines() -> Iterator[tuple[str, str]]:
    """Each line of a block of shell, and each `sadctl ...` in a sentence or a table."""
    for path in DOCUMENTS:
        text = path.read_text()
        for kind, block in _FENCE.findall(text):
            if kind in ("sh", "") and path.parent != ROOT / "sad/manual":
                yield from ((relative(path), line) for line in block.splitlines() if line.strip())
            elif path.parent == ROOT / "sad/manual":
                lines = block.splitlines()
                yield from ((relative(path), li) for li in lines if li.startswith("sadctl "))
        for code in re.findall(r"`(sadctl [^`]*)`", prose(path)):
            yield relative(path), code


LINES = [(where, line) for where, line in shell_lines() if line.split()[0] == "sadctl"]
OTHERS = [
    (where, line)
    for where, line in shell_lines()
    if line.split()[0] != "sadctl" and where.startswith(("sad/docs", "sip_hooks"))
]

_STAND_INS = {
    "ID": "3f0c5e6a7b8c",
    "ADDRESS": "192.0.2.17",
    "PEER:PORT": "192.0.2.17:6300",
    "LOCAL:PORT": "192.0.2.1:5064",
    "HEADER": "tls",
    "Security-Client: ...": "Security-Client: tls;q=0.1",
    "...": "tls",
}


def test_there_are_commands() -> None:
    """The pattern is not dead."""
    assert len(LINES) > 30
    assert {where for where, _ in LINES} >= {"README.md", "sad/docs/troubleshooting.md"}


@pytest.mark.parametrize(("where", "line"), sorted(set(LINES)))
def test_every_sadctl_command_runs(
    where: str, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Against a real server: none is a usage error, none lacks its method."""
    if re.fullmatch(r"sadctl( [a-z-]+)+", line):  # the verb is spoken of
        with contextlib.suppress(SystemExit):
            build_parser().parse_args(line.split()[1:])
        assert "invalid choice" not in capsys.readouterr().err
        return
    words = [_STAND_INS.get(word, word) for word in shlex.split(line, comments=True)[1:]]
    if {"monitor", "top"} & set(words) or words[:1] in (["key"], ["tls"]):
        build_parser().parse_args(words)  # the first two go on for ever
        return
    with serving_in_thread(tmp_path / "s") as (backend, run_there):
        sa_set = make.sa_set(ue_address="192.0.2.17")
        run_there(lambda: backend.put(make.association(id="3f0c5e6a7b8c", sa_set=sa_set)))
        status = sadctl([*words, "--socket", str(tmp_path / "s")])

    assert status in (0, 1), line


@pytest.mark.parametrize(("where", "line"), sorted(set(OTHERS)))
def test_every_other_command_runs_or_is_run_elsewhere(where: str, line: str) -> None:
    """Those of the examples have tests of their own."""
    first = line.split(maxsplit=1)[0]
    if first in _ELSEWHERE:
        test = (ROOT / _ELSEWHERE[first]).read_text()
        assert first.strip("(./") in test or relative(ROOT / where) in test
        return
    programs = ROOT / ".venv/bin"
    done = subprocess.run(
        ["sh", "-c", line],
        cwd=ROOT,
        env={"PATH": f"{programs}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
