"""What a User-mode Linux guest runs as process 1, and how its output is read: pure text.

Counterpart of :mod:`tests.lane.uml`, which boots the guest. The guest has three terminals: the
console (the kernel's words), ``tty1`` and ``tty2`` (standard output and error of the command).
Between the command's bytes stand markers with a random token: one when the guest is ready, and
one on each stream with the exit status, after which no byte of that stream is missing.
"""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.lane.environment import FOLDERS

READY: Final = "ready"

MODULES: Final = (
    # IPsec, both families
    "ipv6", "xfrm_user", "esp4", "esp6", "af_key", "udp_tunnel",
    # its algorithms; drbg and what it needs first, else any cipher is a bare ENOENT
    "sha512_generic", "drbg", "authenc", "echainiv", "seqiv", "hmac",
    "cbc", "ecb", "ctr", "gcm", "ghash-generic", "cmac", "des_generic",
    # topology and packet filter
    "veth", "ip_tables", "ip6_tables", "iptable_filter", "ip6table_filter", "xt_policy",
    "xt_tcpudp", "xt_multiport", "xt_comment", "xt_mark", "ipt_REJECT", "ip6t_REJECT",
    # socket and packet observation
    "udp_diag", "nlmon",
)  # fmt: skip
"""Loaded at once, which is cheap; the kernel loads any other on demand, a fork each."""

OPTIONAL_MODULE: Final = "jitterentropy_rng"
"""A second source of drbg, which goes on without it. Its self-test fails on machines whose clock
is too coarse for it (EFAULT)."""

_INIT: Final = """\
#!/bin/sh
# Process 1 of a test guest. Says what failed on the console and powers off.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
off() {{ sync; echo o >/proc/sysrq-trigger; while :; do sleep 1; done; }}
broken() {{ echo "lane: $1"; off; }}
# Seen from a user's namespace, files of root belong to nobody, and mount(8) is set-uid: it would
# become nobody. Run by the loader it keeps its rights, and with nosuid so does everything after.
ld.so {mount} -n -o remount,bind,ro,nosuid / || exec echo "lane: cannot mount /"
mount -t proc proc /proc || exec echo "lane: cannot mount /proc"
mount -t sysfs sysfs /sys || broken "cannot mount /sys"
mount -t tmpfs -o mode=755 tmpfs /run || broken "cannot mount /run"
mkdir -p /dev/pts {folders} || broken "cannot make folders"
chmod 1777 {temporary} || broken "cannot open TMPDIR"
mount -t devpts devpts /dev/pts || broken "cannot mount /dev/pts"
mount -t tmpfs tmpfs /dev/shm || broken "cannot mount /dev/shm"
ln -s /proc/self/fd /dev/fd
ln -s /proc/self/fd/0 /dev/stdin
ln -s /proc/self/fd/1 /dev/stdout
ln -s /proc/self/fd/2 /dev/stderr
mount -t hostfs -o {scratch} scratch {scratch} || broken "cannot mount the scratch folder"
# What is written to the scratch folder reaches the host within a second or two.
echo 100 >/proc/sys/vm/dirty_expire_centisecs
echo 50 >/proc/sys/vm/dirty_writeback_centisecs
echo {control}/modprobe >/proc/sys/kernel/modprobe
modprobe -q -d {control} {optional} 2>/dev/null || :
modprobe -d {control} -a {modules} || broken "cannot load the kernel modules"
ip link set lo up || broken "cannot bring lo up"
for terminal in /dev/tty1 /dev/tty2; do
  stty -opost <"$terminal" || broken "cannot set $terminal"
done
printf '%s:{ready}\\n' {marker} >/dev/tty1
(
  cd {directory} || exit {failed}
  exec env -i {environment} {command}
) </dev/null >/dev/tty1 2>/dev/tty2
code=$?
sync
printf '%s:%d\\n' {marker} "$code" >/dev/tty1
printf '%s:%d\\n' {marker} "$code" >/dev/tty2
off
"""

_MODPROBE: Final = """\
#!/bin/sh
# The guest kernel's own module loader (/proc/sys/kernel/modprobe).
exec /sbin/modprobe -d {control} "$@"
"""


def init_script(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    directory: Path,
    scratch: Path,
    control: Path,
    marker: str,
    failed: int,
) -> str:
    """Return the guest's first program; every value is quoted for the shell."""
    return _INIT.format(
        folders=shlex.join(FOLDERS),
        mount="/usr/bin/mount",
        temporary=shlex.quote(FOLDERS[0]),
        scratch=shlex.quote(str(scratch)),
        control=shlex.quote(str(control)),
        modules=shlex.join(MODULES),
        optional=OPTIONAL_MODULE,
        ready=READY,
        marker=shlex.quote(marker),
        directory=shlex.quote(str(directory)),
        failed=failed,
        environment=shlex.join(f"{name}={value}" for name, value in environment.items()),
        command=shlex.join(command),
    )


def modprobe_script(control: Path) -> str:
    """Return the program that loads a module on the guest kernel's own demand."""
    return _MODPROBE.format(control=shlex.quote(str(control)))


class Splitter:
    """Takes a stream apart into the command's bytes and the markers of process 1."""

    def __init__(self, marker: str) -> None:
        self._start = marker.encode() + b":"
        self._held = b""
        self.ready = False
        self.status: int | None = None

    def feed(self, data: bytes) -> bytes:
        """Return what can be shown now; what follows the exit status is dropped."""
        shown = b""
        buffer = self._held + data
        while self.status is None:
            before, start, rest = buffer.partition(self._start)
            if not start:
                keep = _overlap(buffer, self._start)
                shown += buffer[: len(buffer) - keep]
                self._held = buffer[len(buffer) - keep :]
                return shown
            shown += before
            word, newline, after = rest.partition(b"\n")
            if not newline:
                self._held = start + rest
                return shown
            self._take(word.decode())
            buffer = after
        self._held = b""
        return shown

    def _take(self, word: str) -> None:
        if word == READY:
            self.ready = True
        else:
            self.status = int(word)


def _overlap(text: bytes, start: bytes) -> int:
    """Return the length of the longest end of ``text`` that begins ``start``."""
    longest = min(len(text), len(start) - 1)
    return next((n for n in range(longest, 0, -1) if start.startswith(text[-n:])), 0)


def explain_death(console: str) -> str:
    """Say why a guest ended before its command did, with the kernel's last words."""
    lines = [line.rstrip() for line in console.splitlines() if line.strip()]
    told = [line for line in lines if line.startswith("lane: ")]
    if told:
        return f"the guest could not start: {told[-1].removeprefix('lane: ')}"
    panics = [index for index, line in enumerate(lines) if "Kernel panic" in line]
    first = max(0, panics[0] - 20) if panics else -20
    what = "the guest's kernel panicked" if panics else "the guest ended before its command"
    return "\n  ".join([f"{what}; its last words:", *lines[first:][:60]])


def kernel_complaints(console: str) -> list[str]:
    """Return the lines in which the guest's kernel reports a fault of its own."""
    signs = ("BUG:", "WARNING:", "Oops", "Call Trace", "possible circular locking")
    return [line.strip() for line in console.splitlines() if any(sign in line for sign in signs)]
