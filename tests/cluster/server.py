"""A real etcd for tests: one member or three, on loopback, each with a directory of its own."""

import base64
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.net import Machine
from tests.support.ports import free_ports

#: An election must not hang on a loaded machine, nor a lease's least time be long: etcd's least
#: time to live is 1.5 elections.
_HEARTBEAT, _ELECTION = "100", "1000"
_START_SECONDS = 60.0


class Member:
    """One etcd process; on a machine of its own, or on loopback."""

    def __init__(
        self,
        name: str,
        directory: Path,
        client: int,
        peer: int,
        more: Sequence[str] = (),
        *,
        machine: Machine | None = None,
    ) -> None:
        self.name = name
        self.host = "127.0.0.1" if machine is None else machine.address
        self._enter = contextlib.nullcontext if machine is None else machine.enter
        self.directory = directory
        self.client = client
        self.peer = peer
        self._more = tuple(more)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def target(self) -> str:
        return f"{self.host}:{self.client}"

    def start(self, initial: str, *, state: str = "new") -> None:
        log = self.directory.parent / f"{self.name}.log"
        with log.open("ab") as output, self._enter():
            self._process = subprocess.Popen(
                [
                    "etcd",
                    f"--name={self.name}",
                    f"--data-dir={self.directory}",
                    f"--listen-client-urls=http://{self.host}:{self.client}",
                    f"--advertise-client-urls=http://{self.host}:{self.client}",
                    f"--listen-peer-urls=http://{self.host}:{self.peer}",
                    f"--initial-advertise-peer-urls=http://{self.host}:{self.peer}",
                    f"--initial-cluster={initial}",
                    f"--initial-cluster-state={state}",
                    f"--heartbeat-interval={_HEARTBEAT}",
                    f"--election-timeout={_ELECTION}",
                    "--unsafe-no-fsync",
                    "--log-level=error",
                    *self._more,
                ],
                stdout=output,
                stderr=output,
                env={"PATH": os.environ["PATH"], "ETCD_UNSUPPORTED_ARCH": "arm64"},
            )

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Cluster:
    """An etcd cluster that is ready."""

    def __init__(
        self,
        directory: Path,
        size: int = 1,
        more: Sequence[str] = (),
        *,
        machines: Sequence[Machine] = (),
    ) -> None:
        self.directory = directory
        self.members = [
            Member(f"m{i}", directory / f"m{i}", 2379, 2380, more, machine=machine)
            for i, machine in enumerate(machines)
        ]
        if not machines:
            ports = iter(free_ports("127.0.0.1", 2 * size))
            self.members = [
                Member(f"m{i}", directory / f"m{i}", next(ports), next(ports), more)
                for i in range(size)
            ]
        self._enter = machines[0].enter if machines else contextlib.nullcontext
        self._initial = ",".join(f"{m.name}=http://{m.host}:{m.peer}" for m in self.members)

    @property
    def targets(self) -> tuple[str, ...]:
        return tuple(m.target for m in self.members)

    def start(self) -> None:
        for member in self.members:
            member.start(self._initial)
        self.wait()

    def restart(self, member: Member) -> None:
        """Start a member that was killed; its data is what it was."""
        member.start(self._initial)
        self.wait()

    def wait(self) -> None:
        """Wait until the cluster takes writes."""
        until = time.monotonic() + _START_SECONDS
        while time.monotonic() < until:
            # etcdctl is dear to start in a guest: only when somebody listens.
            if self._listens() and self.ctl("endpoint", "health", check=False).returncode == 0:
                return
            time.sleep(0.05)
        logs = "\n".join(p.read_text()[-2000:] for p in self.directory.glob("*.log"))
        raise AssertionError(f"etcd did not come up:\n{logs}")

    def _listens(self) -> bool:
        for member in self.members:
            with self._enter(), socket.socket() as probe:
                if probe.connect_ex((member.host, member.client)):
                    return False
        return True

    def ctl(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        with self._enter():
            return subprocess.run(
                ["etcdctl", "--endpoints", ",".join(self.targets), *arguments],
                check=check,
                capture_output=True,
                text=True,
                timeout=120,
                env={"PATH": os.environ["PATH"], "ETCDCTL_API": "3"},
            )

    def put(self, key: str, value: bytes) -> None:
        """Write any bytes."""
        with self._enter():
            subprocess.run(
                ["etcdctl", "--endpoints", ",".join(self.targets), "put", key],
                check=True,
                input=value,
                capture_output=True,
                timeout=120,
                env={"PATH": os.environ["PATH"], "ETCDCTL_API": "3"},
            )

    def versions(self, prefix: str) -> dict[str, int]:
        """Return how often each key below a prefix has been written."""
        told = json.loads(self.ctl("get", "--prefix", prefix, "--write-out=json").stdout)
        return {
            base64.b64decode(one["key"]).decode(): int(one["version"])
            for one in told.get("kvs", ())
        }

    def backup(self, path: Path) -> None:
        """Write a snapshot of the first member."""
        self.ctl("--endpoints", self.members[0].target, "snapshot", "save", str(path))

    def restore(self, path: Path) -> None:
        """Begin again from a snapshot, as an operator does it: a new cluster of old data."""
        self.stop()
        for member in self.members:
            shutil.rmtree(member.directory)
            self.ctl(
                "snapshot",
                "restore",
                str(path),
                "--name",
                member.name,
                "--data-dir",
                str(member.directory),
                "--initial-cluster",
                self._initial,
                "--initial-cluster-token",
                f"restored-{time.monotonic_ns()}",
                "--initial-advertise-peer-urls",
                f"http://{member.host}:{member.peer}",
            )
        self.start()

    def stop(self) -> None:
        for member in self.members:
            member.kill()


@contextmanager
def etcd(directory: Path, size: int = 1, more: Sequence[str] = ()) -> Iterator[Cluster]:
    """Run an etcd cluster, and end it."""
    cluster = Cluster(directory, size, more)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
