"""The UE's SAs and policies in its kernel, through `ip xfrm`: the counterpart of `netlink/`.

Independent of it on purpose: iproute2 is the second opinion on what TS 33.203 7.1 means in XFRM.
:func:`add_commands` and :func:`remove_commands` are pure; :class:`IpXfrm` keeps one `ip` process
and feeds it, because a process per set is dear in a guest; :class:`NoXfrm` stands in its place
where a kernel has no ESP.
"""

import asyncio
import re
from dataclasses import dataclass
from typing import Protocol

from tests.ue.security import SaSet, Transforms

PRIORITY = 1000
#: ESP in UDP (RFC 3948): what a UE behind a NAT sends from, and sends to.
_ENCAPSULATION = "encap espinudp 4500 4500 0.0.0.0"
REPLAY_WINDOW = 32


class XfrmError(RuntimeError):
    """`ip` refused a command; the text is its own words without keys."""


class Xfrm(Protocol):
    """Installs and removes SA sets."""

    async def add(self, sa_set: SaSet) -> None: ...

    async def remove(self, sa_set: SaSet, *, last: bool) -> None: ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Direction:
    """One row of the table of norms 11: a unidirectional SA with its port selector."""

    name: str
    out: bool
    source: str
    destination: str
    sport: int
    dport: int
    spi: int
    reqid: int

    @property
    def selector(self) -> str:
        bits = 128 if ":" in self.source else 32
        return (
            f"src {self.source}/{bits} dst {self.destination}/{bits}"
            f" sport {self.sport} dport {self.dport}"
        )

    @property
    def addresses(self) -> str:
        return f"src {self.source} dst {self.destination}"

    @property
    def way(self) -> str:
        return "out" if self.out else "in"


def _direction(s: SaSet, name: str, *, out: bool, ports: tuple[int, int], spi: int) -> Direction:
    """``ports`` are (the UE's, the P-CSCF's)."""
    # A reqid of its own binds each policy to its SA. With cross pairs either inbound SA of
    # either set may carry a packet, so these share one that stays with port_us.
    reqid = s.port_us if s.cross_pairs and not out else spi
    ends = (s.ue_address, s.pcscf_address, *ports)
    if not out:
        ends = (s.pcscf_address, s.ue_address, ports[1], ports[0])
    return Direction(name, out, *ends, spi, reqid)


def directions(s: SaSet) -> tuple[Direction, ...]:
    """SA1 to SA4 of TS 33.203 7.1."""
    return (
        _direction(s, "SA1", out=True, ports=(s.port_uc, s.port_ps), spi=s.spi_ps),
        _direction(s, "SA2", out=False, ports=(s.port_uc, s.port_ps), spi=s.spi_uc),
        _direction(s, "SA3", out=False, ports=(s.port_us, s.port_pc), spi=s.spi_us),
        _direction(s, "SA4", out=True, ports=(s.port_us, s.port_pc), spi=s.spi_pc),
    )


def cross_directions(s: SaSet) -> tuple[Direction, ...]:
    """The pairs u.s/p.s and u.c/p.c; the SA follows the port of the receiver (INTEROP-1)."""
    server, client = (s.port_us, s.port_ps), (s.port_uc, s.port_pc)
    return (
        _direction(s, "u.s-p.s", out=True, ports=server, spi=s.spi_ps),
        _direction(s, "p.s-u.s", out=False, ports=server, spi=s.spi_us),
        _direction(s, "u.c-p.c", out=True, ports=client, spi=s.spi_pc),
        _direction(s, "p.c-u.c", out=False, ports=client, spi=s.spi_uc),
    )


def _algorithms(transforms: Transforms) -> str:
    if transforms.aead is not None:
        name, key, icv = transforms.aead
        return f"aead {name} 0x{key.hex()} {icv}"
    assert transforms.auth is not None
    assert transforms.enc is not None
    name, key, bits = transforms.auth
    cipher, cipher_key = transforms.enc
    text = f"0x{cipher_key.hex()}" if cipher_key else '""'
    return f"auth-trunc {name} 0x{key.hex()} {bits} enc {cipher} {text}"


def _mode(s: SaSet) -> str:
    return "tunnel" if s.encapsulated else "transport"


def _policy(verb: str, s: SaSet, d: Direction) -> str:
    return (
        f"xfrm policy {verb} dir {d.way} {d.selector} priority {PRIORITY}"
        f" tmpl {d.addresses} proto esp reqid {d.reqid} mode {_mode(s)} level required"
    )


def add_commands(s: SaSet) -> list[str]:
    """Commands that install a set: SAs first, then the policies that ask for them.

    The SAs carry no lifetime: T33-7.1-i, the real one is kept by SIP.
    """
    commands = []
    for d in directions(s):
        # With cross pairs an SA serves two port pairs, the policies alone check ports.
        selector = d.selector.partition(" sport")[0] if s.cross_pairs else d.selector
        udp = f" {_ENCAPSULATION}" if s.encapsulated else ""
        commands.append(
            f"xfrm state add {d.addresses} proto esp spi 0x{d.spi:08x} reqid {d.reqid}"
            f" mode {_mode(s)} replay-window {REPLAY_WINDOW} {_algorithms(s.transforms)}{udp}"
            f" sel {selector}"
        )
    commands += [_policy("add", s, d) for d in directions(s)]
    if s.cross_pairs:
        # u.s/p.s is the same selector in the old and the new set: the new set takes it over.
        commands += [_policy("update", s, d) for d in cross_directions(s)]
    return commands


def remove_commands(s: SaSet, *, last: bool) -> list[str]:
    """Commands that remove a set; ``last``: no other set uses the u.s/p.s policies."""
    gone = [*directions(s)]
    if s.cross_pairs:
        gone += cross_directions(s) if last else cross_directions(s)[2:]
    states = [
        f"xfrm state delete {d.addresses} proto esp spi 0x{d.spi:08x}" for d in directions(s)
    ]
    return states + [f"xfrm policy delete dir {d.way} {d.selector}" for d in gone]


class NoXfrm:
    """Remembers instead of installing: for runs where the ports alone are the promise."""

    def __init__(self) -> None:
        self.installed: list[SaSet] = []

    async def add(self, sa_set: SaSet) -> None:
        add_commands(sa_set)
        self.installed.append(sa_set)

    async def remove(self, sa_set: SaSet, *, last: bool) -> None:
        remove_commands(sa_set, last=last)
        self.installed.remove(sa_set)

    async def close(self) -> None:
        return


class IpXfrm:
    """One `ip -batch` process of a network namespace, shared by all UEs of it.

    Success prints nothing, so each group of commands ends with a word that `ip` does not know:
    the complaint about exactly that line says that everything before it went well. A command
    that the kernel refuses ends the process; the next group gets a new one. ``mirrored``: play
    the P-CSCF's kernel, for which the same policies have the other direction.
    """

    _FENCE = "fence"
    _KEY = re.compile(r"0x[0-9a-f]{16,}")
    _FAILED = re.compile(rb"Command failed -:([0-9]+)")

    def __init__(self, namespace: str | None = None, *, mirrored: bool = False) -> None:
        self._mirrored = mirrored
        self._arguments = [*(() if namespace is None else ("-n", namespace)), "-force", "-batch"]
        self._process: asyncio.subprocess.Process | None = None
        self._line = 0
        self._lock = asyncio.Lock()

    async def add(self, sa_set: SaSet) -> None:
        await self.run(self._seen_from_here(add_commands(sa_set)))

    async def remove(self, sa_set: SaSet, *, last: bool) -> None:
        await self.run(self._seen_from_here(remove_commands(sa_set, last=last)))

    def _seen_from_here(self, commands: list[str]) -> list[str]:
        other = {" dir in ": " dir out ", " dir out ": " dir in "} if self._mirrored else {}
        return [
            re.sub(" dir (in|out) ", lambda m: other.get(m.group(), m.group()), command)
            for command in commands
        ]

    async def run(self, commands: list[str]) -> None:
        """Run a group; raises :class:`XfrmError` if any of it failed."""
        async with self._lock:
            if self._process is None:
                pipe = asyncio.subprocess.PIPE
                self._process = await asyncio.create_subprocess_exec(
                    *("ip", *self._arguments, "-"),
                    stdin=pipe,
                    stdout=asyncio.subprocess.DEVNULL,
                    stderr=pipe,
                )
                self._line = 0
            stdin, stderr = self._process.stdin, self._process.stderr
            assert stdin is not None
            assert stderr is not None
            first = self._line + 1
            self._line += len(commands) + 1
            stdin.write("\n".join([*commands, self._FENCE, ""]).encode())
            complaints: list[str] = []
            while line := await stderr.readline():
                failed = self._FAILED.search(line)
                if failed and int(failed.group(1)) == self._line:
                    break
                if failed and int(failed.group(1)) < first:
                    # Of a group whose caller was cancelled before it had read the answers.
                    complaints.clear()
                    continue
                complaints.append(line.decode(errors="replace").strip())
            else:
                await self._process.wait()
                self._process = None
            # The fence's own complaint stands before its line number.
            if self._process is None or len(complaints) > 1:
                text = "; ".join(complaints) or "ip ended without a word"
                raise XfrmError(self._KEY.sub("0x(hidden)", text))

    async def close(self) -> None:
        async with self._lock:
            if self._process is None or self._process.stdin is None:
                return
            self._process.stdin.close()
            await self._process.wait()
            self._process = None
