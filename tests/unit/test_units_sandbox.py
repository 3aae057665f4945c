"""The unit files: systemd itself finds nothing wrong, and the sandbox is as tight as measured."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sad.config import Settings
from sad.store.sealing_key import CREDENTIAL

UNITS = Path(__file__).resolve().parents[2] / "systemd"
SYSTEM_UNITS = Path("/usr/lib/systemd/system")
EXECUTABLES = (
    "/opt/sad/bin/sad",
    "/opt/sad/bin/sad-guard",
    "/usr/bin/systemctl",
    "/bin/true",
    "/usr/sbin/kamailio",
    "/usr/sbin/nft",
)
# The servers with which the units are ordered; a stand-in, so that the test needs none of them.
FOREIGN = {
    "kamailio.service": "/usr/sbin/kamailio",
    "nftables.service": "/usr/sbin/nft",
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a root in which everything lies where a package puts it."""
    root = tmp_path_factory.mktemp("root")
    shutil.copytree(SYSTEM_UNITS, root / "usr/lib/systemd/system", symlinks=True)
    (root / "lib").symlink_to("usr/lib")
    for executable in EXECUTABLES:
        path = root / executable.removeprefix("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    for name, executable in FOREIGN.items():
        unit = root / "usr/lib/systemd/system" / name
        unit.unlink(missing_ok=True)
        unit.write_text(f"[Unit]\nDescription=x\n[Service]\nExecStart={executable}\n")
    folder = root / "etc/systemd/system"
    folder.mkdir(parents=True)
    for unit in (*UNITS.glob("*.service"), *UNITS.glob("*.socket")):
        shutil.copy(unit, folder)
    for drop_in in UNITS.glob("*.service.d"):
        shutil.copytree(drop_in, folder / drop_in.name)
    return root


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
    )


def test_systemd_finds_nothing_to_complain_of(installed: Path) -> None:
    """Units and drop-ins are understood by systemd down to the last word."""
    names = [
        path.name for path in (installed / "etc/systemd/system").glob("*.s*") if path.is_file()
    ]
    assert sorted(names) == [
        "sad-encap.socket",
        "sad-guard.service",
        "sad-refused.service",
        "sad.service",
        "sad.socket",
    ]

    done = analyze("verify", "--man=no", f"--root={installed}", *names, *FOREIGN)

    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_systemd_would_complain(installed: Path, tmp_path: Path) -> None:
    """The check above can fail: a misspelt setting is seen."""
    root = shutil.copytree(installed, tmp_path / "root", symlinks=True)
    with (root / "etc/systemd/system/sad.service").open("a") as unit:
        unit.write("[Service]\nProtectSistem=yes\n")

    assert "ProtectSistem" in analyze("verify", "--man=no", f"--root={root}", "sad.service").stderr


@pytest.mark.parametrize(("unit", "worst"), [("sad.service", 13), ("sad-guard.service", 30)])
def test_the_sandbox_is_as_tight_as_measured(unit: str, worst: int, installed: Path) -> None:
    """``systemd-analyze security`` gives the daemon 1.3 or better (ecosystem 2.1)."""
    done = analyze(
        "security", "--offline=yes", f"--root={installed}", f"--threshold={worst}", unit
    )

    assert done.returncode == 0, done.stdout


def settings_of(name: str) -> dict[str, dict[str, str]]:
    # repeated settings keep the last value, which is all that is asked here
    parser = configparser.RawConfigParser(strict=False, delimiters=["="])
    parser.optionxform = str  # type: ignore[assignment,method-assign] # names have capitals
    parser.read(UNITS / name)
    return {section: dict(parser[section]) for section in parser.sections()}


def test_the_daemon_has_one_capability_and_leaves_no_core() -> None:
    """Design section 1: one small privileged process; keys reach neither core nor swap."""
    service = settings_of("sad.service")["Service"]

    assert service["AmbientCapabilities"] == service["CapabilityBoundingSet"] == "CAP_NET_ADMIN"
    assert service["User"] == "sad"
    assert service["LimitCORE"] == "0"
    assert service["MemorySwapMax"] == "0"
    assert service["Type"] == "notify"


def test_the_state_survives_a_stop() -> None:
    """Design section 8: a restart loses nothing, and /run/sad/state dies with the boot."""
    service = settings_of("sad.service")["Service"]

    assert service["RuntimeDirectoryPreserve"] == "yes"
    assert "sad/state" in service["RuntimeDirectory"].split()


def test_the_socket_is_the_default_one() -> None:
    """Unit file and settings name the same path, and the name that the daemon looks for."""
    socket = settings_of("sad.socket")["Socket"]

    assert socket["ListenStream"] == Settings().socket_path
    assert int(socket["SocketMode"], 8) == Settings().socket_mode
    assert socket["FileDescriptorName"] == "varlink"
    assert socket["SocketGroup"] == settings_of("sad.service")["Service"]["Group"]


def test_a_sip_server_does_not_start_without_the_guard() -> None:
    """Protected ports fail closed (design section 1): no guard, no server."""
    server = settings_of("kamailio.service.d/sad.conf")
    guard = settings_of("sad-guard.service")

    assert server["Unit"]["Requires"] == "sad-guard.service"
    assert "kamailio.service" in guard["Unit"]["Before"]
    assert server["Service"]["SupplementaryGroups"] == "sad"


def test_sysusers_makes_the_user_of_the_unit() -> None:
    """The user of the unit, the group of the socket."""
    (line,) = re.findall(r"(?m)^[^#\n].*", (UNITS / "sysusers.d/sad.conf").read_text())

    assert line.split()[:2] == ["u", settings_of("sad.service")["Service"]["User"]]


def test_no_python_lies_among_the_units() -> None:
    """A module here would shadow the package of systemd-python (style section 5)."""
    assert not list(UNITS.rglob("*.py"))


def test_the_example_of_a_credential_is_a_drop_in_of_the_daemon(
    installed: Path, tmp_path: Path
) -> None:
    """It names the credential that the daemon looks for, and systemd understands it."""
    example = UNITS / "credentials.conf.example"
    assert f"LoadCredential={CREDENTIAL}:/etc/sad/" in example.read_text()
    root = shutil.copytree(installed, tmp_path / "root", symlinks=True)
    drop_in = root / "etc/systemd/system/sad.service.d/credentials.conf"
    drop_in.parent.mkdir()
    shutil.copy(example, drop_in)

    done = analyze("verify", "--man=no", f"--root={root}", "sad.service")

    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_a_start_that_is_refused_for_good_closes_the_sockets() -> None:
    """Else each caller and packet would start in vain what settings or kernel do not let start."""
    service = settings_of("sad.service")

    assert service["Unit"]["OnFailure"] == "sad-refused.service"
    assert service["Service"]["RestartPreventExitStatus"].split() == ["69", "78"]
    conflicts = settings_of("sad-refused.service")["Unit"]["Conflicts"]
    assert conflicts == "sad.socket sad-encap.socket"
    assert service["Unit"]["Requires"] == "sad.socket"  # a start by hand opens it again


def test_a_restart_takes_along_the_socket_of_encapsulated_esp() -> None:
    """A daemon that runs is handed nothing more: systemd refuses to start the socket beside it."""
    unit = settings_of("sad-encap.socket")

    assert "sad.service" in unit["Install"]["WantedBy"].split()
    assert unit["Unit"]["Before"] == unit["Socket"]["Service"] == "sad.service"
