"""The tools that put the guard's rules into the kernel; the counterpart of :mod:`sad.guard.rules`.

Each backend replaces its rules in one transaction a family, so applying is idempotent and leaves
no gap. All calls are synchronous: the guard runs once, before the SIP server.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from sad.guard.rules import (
    NFT_TABLE,
    ProtectedEndpoint,
    RuleCounter,
    parse_iptables,
    parse_nftables,
    render_iptables,
    render_iptables_removal,
    render_nftables,
    render_nftables_removal,
    replacing_jumps,
)

_TIMEOUT_SECONDS: Final = 60
_LOCK_WAIT: Final = "--wait=20"  # seconds for the lock that all iptables tools share
_TOOL_FOLDERS: Final = "/usr/sbin:/sbin:/usr/bin:/bin"


class GuardError(Exception):
    """The guard cannot do what was asked; the text says why and the way out."""


class Backend(Protocol):
    """One way to put rules into the kernel."""

    name: str

    def obstacle(self, endpoints: Sequence[ProtectedEndpoint]) -> str | None:
        """Return why these rules cannot be applied here, or None if they can."""

    def render(self, endpoints: Sequence[ProtectedEndpoint]) -> str:
        """Return the rules as text for people."""

    def apply(self, endpoints: Sequence[ProtectedEndpoint]) -> None:
        """Replace our rules by those of ``endpoints``, or raise GuardError."""

    def remove(self) -> bool:
        """Remove our rules; return whether there were any."""

    def counters(self) -> tuple[RuleCounter, ...] | None:
        """Return what was dropped, or None if our rules are not in the kernel."""


class Nftables:
    """The ``nft`` tool and nf_tables."""

    name = "nft"

    def obstacle(self, endpoints: Sequence[ProtectedEndpoint]) -> str | None:
        """Let the kernel check the rules without committing them."""
        if _find("nft") is None:
            return "there is no nft tool (Debian: package nftables)"
        done = _run(["nft", "--check", "-f", "-"], render_nftables(endpoints))
        return None if done.returncode == 0 else _complaint(done)

    def render(self, endpoints: Sequence[ProtectedEndpoint]) -> str:
        """Return the input of ``nft -f``."""
        return render_nftables(endpoints)

    def apply(self, endpoints: Sequence[ProtectedEndpoint]) -> None:
        """Replace the table in one transaction."""
        _must(["nft", "-f", "-"], render_nftables(endpoints))

    def remove(self) -> bool:
        """Remove the table."""
        if self.counters() is None:
            return False
        _must(["nft", "-f", "-"], render_nftables_removal())
        return True

    def counters(self) -> tuple[RuleCounter, ...] | None:
        """List the table; None if there is no tool, no nf_tables or no such table."""
        if _find("nft") is None:
            return None
        done = _run(["nft", "list", "table", "inet", NFT_TABLE], "")
        return parse_nftables(done.stdout) if done.returncode == 0 else None


class Iptables:
    """``iptables-restore`` and its IPv6 twin, of either make."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._tools = (name, name.replace("ip", "ip6", 1))

    def obstacle(self, endpoints: Sequence[ProtectedEndpoint]) -> str | None:
        """Let the tool build the rules without committing them."""
        for tool, rules in zip(self._tools, render_iptables(endpoints), strict=True):
            if _find(f"{tool}-restore") is None:
                return f"there is no {tool}-restore tool (Debian: package iptables)"
            if rules:
                done = _run([f"{tool}-restore", "--noflush", "--test", _LOCK_WAIT], rules)
                if done.returncode != 0:
                    return _complaint(done)
        return None

    def render(self, endpoints: Sequence[ProtectedEndpoint]) -> str:
        """Return the input of both tools."""
        return "".join(
            f"# {tool}-restore --noflush\n{rules}"
            for tool, rules in zip(self._tools, render_iptables(endpoints), strict=True)
            if rules
        )

    def apply(self, endpoints: Sequence[ProtectedEndpoint]) -> None:
        """Replace the chains, one commit a family; a family without addresses loses its own."""
        for tool, rules in zip(self._tools, render_iptables(endpoints), strict=True):
            if rules:
                self._commit(tool, replacing_jumps(rules, self._saved(tool)))
            else:
                self._remove(tool)

    def remove(self) -> bool:
        """Remove chains and jumps of both families."""
        removed = [self._remove(tool) for tool in self._tools]
        return any(removed)

    def counters(self) -> tuple[RuleCounter, ...] | None:
        """Read both families; None if neither has our chains."""
        saved = [self._saved(tool, "--counters") for tool in self._tools]
        if not any(map(render_iptables_removal, saved)):
            return None
        return tuple(counter for text in saved for counter in parse_iptables(text))

    def _remove(self, tool: str) -> bool:
        rules = render_iptables_removal(self._saved(tool))
        if rules:
            self._commit(tool, rules)
        return bool(rules)

    def _commit(self, tool: str, rules: str) -> None:
        _must([f"{tool}-restore", "--noflush", _LOCK_WAIT], rules)

    def _saved(self, tool: str, *options: str) -> str:
        if _find(f"{tool}-save") is None or not _may_hold_rules(tool):
            return ""
        done = _run([f"{tool}-save", "-t", "mangle", *options], "")
        return done.stdout if done.returncode == 0 else ""


def _may_hold_rules(tool: str) -> bool:
    """Tell whether asking a legacy tool would only make the kernel load an empty table."""
    if not tool.endswith("-legacy"):
        return True
    names = Path(f"/proc/thread-self/net/{tool.removesuffix('tables-legacy')}_tables_names")
    try:
        return "mangle" in names.read_text().split()
    except OSError:
        return False


def all_backends() -> tuple[Backend, ...]:
    """Return the backends in order of preference."""
    return (Nftables(), Iptables("iptables-legacy"), Iptables("iptables"))


def choose_backend(name: str, endpoints: Sequence[ProtectedEndpoint]) -> Backend:
    """Return the backend of this name, or with ``auto`` the first that can take the rules.

    Raises GuardError if there is none.
    """
    obstacles = []
    for backend in all_backends():
        if name in ("auto", backend.name):
            obstacle = backend.obstacle(endpoints)
            if obstacle is None:
                return backend
            obstacles.append(f"{backend.name}: {obstacle}")
    reasons = "\n".join(obstacles)
    raise GuardError(f"the rules cannot be applied:\n{reasons}\nrun as root, and install a tool")


def apply(name: str, endpoints: Sequence[ProtectedEndpoint]) -> Backend:
    """Apply the rules with a backend, then remove what others hold from earlier.

    Returns the backend that was used. Raises GuardError; each family then has its old rules or the
    new ones, never none.
    """
    chosen = choose_backend(name, endpoints)
    chosen.apply(endpoints)
    for other in all_backends():
        if other.name != chosen.name:
            other.remove()
    return chosen


def remove() -> tuple[str, ...]:
    """Remove the rules of every backend; return the names of those that had some."""
    return tuple(backend.name for backend in all_backends() if backend.remove())


def _find(tool: str) -> str | None:
    folders = f"{os.environ.get('PATH', '')}:{_TOOL_FOLDERS}"
    return shutil.which(tool, path=folders)


def _run(command: Sequence[str], text: str) -> subprocess.CompletedProcess[str]:
    tool = _find(command[0])
    if tool is None:
        raise GuardError(f"there is no {command[0]} tool: install it, or take another --backend")
    try:
        return subprocess.run(  # noqa: S603 - a found tool, and arguments of our own making
            [tool, *command[1:]],
            input=text,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise GuardError(
            f"{command[0]} did not end within {_TIMEOUT_SECONDS} s: is another tool holding its "
            "lock?"
        ) from None


def _must(command: Sequence[str], text: str) -> None:
    done = _run(command, text)
    if done.returncode != 0:
        raise GuardError(f"{_complaint(done)}\nrun as root; sad-guard print shows the rules")


def _complaint(done: subprocess.CompletedProcess[str]) -> str:
    words = done.stderr.strip() or done.stdout.strip() or f"exit status {done.returncode}"
    return f"{Path(done.args[0]).name}: {words}"
