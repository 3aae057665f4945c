"""Network namespaces with cables between them, for kernel tests and the demo.

A :class:`Namespace` is a named one (``ip netns`` sees it); :func:`connect` lays a veth pair.
Everything goes through system calls and netlink in this process: in User-mode Linux a fork
costs more than all of it together. Runs only inside a lane (:mod:`tests.lane`), whose ``/run``
is its own.
"""

import contextlib
import functools
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar

from pyroute2 import IPRoute

from tests.support.linux import MS_BIND, mount, set_network, unmount, unshare_network

_FOLDER: Final = Path("/run/netns")
_THREAD_NETWORK: Final = "/proc/thread-self/ns/net"
_IFA_F_NODAD: Final = 2
_LONGEST_INTERFACE: Final = 15
_PATIENCE: Final = 10.0

Result = TypeVar("Result")


def in_own_thread(function: Callable[[], Result]) -> Result:
    """Call a function that changes its thread's namespace, in a thread that ends with it."""
    results: list[Result] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            results.append(function())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


class Network(Protocol):
    """Where a socket is opened."""

    def enter(self) -> contextlib.AbstractContextManager[None]:
        """Put the current thread there."""


class Here:
    """The network that one is in anyway, such as a machine's own."""

    def enter(self) -> contextlib.AbstractContextManager[None]:
        """Change nothing."""
        return contextlib.nullcontext()


class Namespace:
    """A network namespace of this name, from construction to :meth:`close`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = _FOLDER / name
        self._processes: list[subprocess.Popen[str]] = []
        _FOLDER.mkdir(parents=True, exist_ok=True)
        self.path.touch(exist_ok=False)
        try:
            in_own_thread(self._create)
        except BaseException:
            self.path.unlink()
            raise

    def _create(self) -> None:
        unshare_network()
        mount(_THREAD_NETWORK, str(self.path), "none", flags=MS_BIND)
        with IPRoute() as route:
            route.link("set", index=1, state="up")

    def __repr__(self) -> str:
        return f"Namespace({self.name!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the processes of :meth:`popen`, then remove the namespace and its cables."""
        for process in self._processes:
            _end(process)
        self._processes.clear()
        unmount(str(self.path))
        self.path.unlink()

    @contextlib.contextmanager
    def enter(self) -> Iterator[None]:
        """Put the current thread into the namespace: for opening sockets, starting programs.

        A socket stays in the namespace where it was opened. No ``await`` inside: other tasks of
        the same thread would find themselves here too.
        """
        before = os.open(_THREAD_NETWORK, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._join()
            try:
                yield
            finally:
                set_network(before)
        finally:
            os.close(before)

    def _join(self) -> None:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            set_network(descriptor)
        finally:
            os.close(descriptor)

    def call(self, function: Callable[[], Result]) -> Result:
        """Return ``function()`` as called in the namespace, in a thread of its own."""

        def body() -> Result:
            self._join()
            return function()

        return in_own_thread(body)

    def run(
        self,
        command: Sequence[str],
        *,
        check: bool = True,
        stdin: str = "",
        timeout: float = 60.0,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the namespace to its end; its words are in the result.

        With ``check`` a failure raises CalledProcessError, with the words as a note.
        """
        with self.enter():
            done = subprocess.run(
                command,
                input=stdin,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
                env=env,
            )
        if check and done.returncode != 0:
            error = subprocess.CalledProcessError(
                done.returncode, list(command), done.stdout, done.stderr
            )
            error.add_note(f"in {self.name}: {(done.stdout + done.stderr).strip()}")
            raise error
        return done

    def popen(self, command: Sequence[str], **options: Any) -> subprocess.Popen[str]:
        """Start a program in the namespace; it ends with the namespace at the latest."""
        with self.enter():
            process = subprocess.Popen(command, text=True, **options)
        self._processes.append(process)
        return process


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cable:
    """The interface names at both ends of a veth pair."""

    a: str
    b: str


def connect(
    a: Namespace, b: Namespace, v4: tuple[str, str] | None, v6: tuple[str, str] | None
) -> Cable:
    """Connect two namespaces; addresses come as ``("192.0.2.1/24", "192.0.2.2/24")``.

    Both ends are up and the addresses usable at once: IPv6 without duplicate detection.
    """
    cable = Cable(a=_interface_name(a, b), b=_interface_name(b, a))

    def lay() -> None:
        with IPRoute() as route:
            peer = {"ifname": cable.b, "net_ns_fd": b.name}
            route.link("add", ifname=cable.a, kind="veth", peer=peer)

    a.call(lay)
    # Both ends up before the addresses: an IPv6 address on a dead link waits for its carrier.
    ends = ((a, cable.a), (b, cable.b))
    for namespace, interface in ends:
        namespace.call(functools.partial(_up, interface))
    for side, (namespace, interface) in enumerate(ends):
        wanted = [pair[side] for pair in (v4, v6) if pair is not None]
        namespace.call(functools.partial(_give_addresses, interface, wanted))
    return cable


def _interface_name(own: Namespace, peer: Namespace) -> str:
    taken = {name for _, name in own.call(socket.if_nameindex)}
    stem = peer.name[: _LONGEST_INTERFACE - 3]
    return next(name for n in range(100) if (name := f"{stem}{n}") not in taken)


def _up(interface: str) -> None:
    with IPRoute() as route:
        route.link("set", ifname=interface, state="up")


def _give_addresses(interface: str, wanted: Sequence[str]) -> None:
    with IPRoute() as route:
        (index,) = route.link_lookup(ifname=interface)
        for text in wanted:
            address, _, length = text.partition("/")
            flags = {"flags": _IFA_F_NODAD} if ":" in address else {}
            route.addr("add", index=index, address=address, prefixlen=int(length), **flags)
