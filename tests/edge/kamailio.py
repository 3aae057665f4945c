"""A real Kamailio in a network namespace, unprivileged, with the hook and the shipped routes.

Its configuration is the shipped example with this test network's values: what is tested is what
users paste.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import sip_hooks
from tests.support.daemon import PATIENCE, wait_until
from tests.support.namespaces import Namespace

HOOK = Path(sip_hooks.__file__).parent
EXAMPLE = HOOK / "kamailio/example-ims.cfg"
USER = "kamailio"
_ANSWER_SECONDS = 5.0


def configuration(values: Mapping[str, str], *, loader: Path, example: Path = EXAMPLE) -> str:
    """Return a shipped example with other values: of ``substdef``s, and of ``sad.*``."""
    text = example.read_text()
    for name, value in values.items():
        if name.startswith("sad."):
            pattern = rf'(?m)^({re.escape(name)} = )("[^"]*"|\d+)'
        else:
            pattern = rf'(?m)^(#!substdef "!{name}!)()[^!]*(?=!g)'
        quoted = f'"{value}"' if name.startswith("sad.") else value
        text, count = re.subn(pattern, lambda m, q=quoted: m[1] + q, text)  # type: ignore[misc]
        assert count == 1, name
    text = re.sub(
        r'(?m)^modparam\("app_python3", "load", ".*"\)$',
        f'modparam("app_python3", "load", "{loader}")',
        text,
    )
    text = text.replace("log_stderror=no", "log_stderror=yes")
    text = text.replace('include_file "', f'include_file "{loader.parent}/')
    control = loader.parents[3] / "run/control.sock"
    text += f'loadmodule "jsonrpcs.so"\nmodparam("jsonrpcs", "dgram_socket", "{control}")\n'
    return text + 'modparam("jsonrpcs", "dgram_mode", 0777)\n'


def install_hook(folder: Path, loader: str = "sad_kamailio.py") -> Path:
    """Copy the hook where an unprivileged user can read it; return its loader."""
    target = folder / "hook/sip_hooks"
    if not target.exists():
        shutil.copytree(HOOK, target, ignore=shutil.ignore_patterns("__pycache__"))
        for path in (folder / "hook", *(folder / "hook").rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
    return target / "kamailio" / loader


def install_faulty(loader: Path) -> Path:
    """Put :mod:`tests.edge.faulty` before the hook; return what Kamailio loads then."""
    target = loader.with_name("faulty.py")
    shutil.copy(Path(__file__).with_name("faulty.py"), target)
    target.chmod(0o644)
    for name in ("faulted", "times"):
        path = loader.with_name(name)
        path.touch()
        shutil.chown(path, USER, USER)
    return target


class Kamailio:
    """One Kamailio; ``words`` is its log."""

    def __init__(self, namespace: Namespace, folder: Path, text: str) -> None:
        self.namespace = namespace
        self.folder = folder
        self.log = folder / "kamailio.log"
        self.config = folder / "kamailio.cfg"
        self.config.write_text(text)
        self.config.chmod(0o644)
        self.process: subprocess.Popen[str] | None = None

    def start(self, *, memory: int = 64) -> "Kamailio":
        """Start it as user kamailio without any capability, and wait until it listens."""
        run = self.folder / "run"
        run.mkdir(exist_ok=True)
        shutil.chown(run, USER, USER)
        run.chmod(0o777)
        command = ["setpriv", "--reuid", USER, "--regid", USER, "--init-groups"]
        command += ["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs", "--"]
        command += ["kamailio", "-DD", "-E", "-f", str(self.config), "-Y", str(run)]
        command += ["-w", str(run), "-m", str(memory), "-M", "16", "-x", "qm"]
        with self.log.open("a") as log:
            self.process = self.namespace.popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
                start_new_session=True,
            )
        process = self.process

        def listens() -> bool:
            if process.poll() is not None:
                raise AssertionError(f"kamailio ended with {process.returncode}:\n{self.words()}")
            with contextlib.suppress(OSError):
                self.rpc("core.uptime")  # its sockets stand before it forks what answers this
                return True
            return False

        wait_until(listens, "kamailio listens", PATIENCE * 2)
        return self

    def proc(self) -> Path:
        """The folder of its main process in /proc."""
        assert self.process is not None
        return Path(f"/proc/{self.process.pid}")

    def forget(self) -> None:
        """Empty the tables that its workers share, as a new registration of everybody would."""
        for table in (
            "sad_flows",
            "sad_registrations",
            "sad_challenges",
            "sad_waiting",
            "sad_away",
        ):
            self.rpc("htable.flush", table)

    def table(self, name: str) -> dict[str, str]:
        """What a table that its workers share holds."""
        slots = self.rpc("htable.dump", name)
        return {item["name"]: item["value"] for slot in slots for item in slot["slot"]}

    def rpc(self, method: str, *parameters: str) -> Any:
        """Have it do something through its control socket; fail with its words."""
        (result,) = self.rpcs([(method, parameters)])
        return result

    def rpcs(self, calls: Iterable[tuple[str, tuple[str, ...]]]) -> list[Any]:
        """As :meth:`rpc`, one after another; return the results."""
        results = []
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as control:
            control.settimeout(_ANSWER_SECONDS)
            control.bind(str(self.folder / "run/tests.sock"))
            (self.folder / "run/tests.sock").chmod(0o777)  # its user answers
            try:
                control.connect(str(self.folder / "run/control.sock"))
                for method, parameters in calls:
                    call = {"jsonrpc": "2.0", "method": method, "params": parameters, "id": 1}
                    control.send(json.dumps(call).encode())
                    answer = json.loads(control.recv(65536))
                    assert "error" not in answer, answer
                    results.append(answer["result"])
            finally:
                (self.folder / "run/tests.sock").unlink()
        return results

    def words(self) -> str:
        """What it has logged."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def stop(self) -> None:
        """Stop it with all its workers."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@contextlib.contextmanager
def running(
    namespace: Namespace, folder: Path, text: str, *, memory: int = 64
) -> Iterator[Kamailio]:
    """Run Kamailio for the length of a block; its processes share ``memory`` MB."""
    kamailio = Kamailio(namespace, folder, text)
    try:
        yield kamailio.start(memory=memory)
    finally:
        kamailio.stop()
