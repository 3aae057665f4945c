"""A guest with Debian's own kernel in QEMU, on the host's file system: for rows that name QEMU.

The kernel comes from Debian's package, unpacked under ``build/bench`` and nowhere installed. The
guest's root is the host's, read-only, over virtiofs; the scratch folder may be written. Without
KVM everything is translated: Python is some fifteen times slower there and system calls are
cheap, which is the opposite of User-mode Linux. Needs root, for virtiofsd.
"""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from tests.lane.environment import FOLDERS

PACKAGE: Final = "linux-image-cloud-amd64"
VIRTIOFSD: Final = Path("/usr/lib/qemu/virtiofsd")
QEMU: Final = "qemu-system-x86_64"
MEMORY: Final = "1536M"
_SOURCE: Final = Path(__file__).with_name("guest_init.c")
_FOR_ROOT: Final = ("virtio_pci", "virtiofs")
#: What sets need, and no more: each module is a process, and its self-test translated code.
_MODULES: Final = (
    "xfrm_user", "esp4", "authenc", "hmac", "sha1_generic", "ecb", "crypto_null", "ctr", "cbc",
    "drbg", "seqiv", "echainiv",
)  # fmt: skip
_SCRIPT: Final = """\
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
off() {{ sync; sleep 1; echo b >/proc/sysrq-trigger; }}
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /dev/pts {folders}
chmod 1777 /run/tmp
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
ln -s /proc/self/fd /dev/fd
mount -t virtiofs scratch {scratch} || off
for module in {modules}; do
  modprobe -q -d {unpacked} "$module" || echo "no module $module in this kernel"
done
ip link set lo up
(cd {directory} && exec env -i {environment} {command}) </dev/null
echo $? >{scratch}/status
off
"""


class NoGuest(Exception):
    """This machine cannot run such a guest, or not in time; the text says why."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """An unpacked kernel: its image, the folder with its lib/modules, its release."""

    image: Path
    folder: Path
    release: str


def kernel_in(cache: Path) -> Kernel:
    """Return Debian's kernel, fetched into ``cache`` by apt if it is not there. Raises NoGuest."""
    for what in (QEMU, "apt-get", "depmod"):
        if shutil.which(what) is None:
            raise NoGuest(f"{what} is not installed")
    if not VIRTIOFSD.exists() or os.getuid():
        raise NoGuest("virtiofsd is not installed, or you are not root")
    if not list(cache.glob("boot/vmlinuz-*")):
        _fetch(cache)
    image = next(cache.glob("boot/vmlinuz-*"))
    return Kernel(image, cache, image.name.partition("-")[2])


def _fetch(cache: Path) -> None:
    depends = subprocess.run(
        ["apt-cache", "depends", PACKAGE], capture_output=True, text=True, check=False
    ).stdout
    names = [line.split()[-1] for line in depends.splitlines() if "Depends: linux-image" in line]
    if not names:
        raise NoGuest(f"apt does not know {PACKAGE}: apt-get update")
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            ["apt-get", "--quiet", "download", names[0]],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        archives = list(Path(folder).glob("*.deb"))
        if done.returncode or not archives:
            raise NoGuest(f"apt did not bring {names[0]}: {done.stderr.strip()}")
        cache.mkdir(parents=True, exist_ok=True)
        subprocess.run(["dpkg-deb", "-x", str(archives[0]), str(cache)], check=True)
    release = next(cache.glob("boot/vmlinuz-*")).name.partition("-")[2]
    subprocess.run(["depmod", "-b", str(cache), release], check=True)


def _initrd(kernel: Kernel, into: Path) -> Path:
    """Write the initial RAM disk: one program, and the modules it loads."""
    program = into / "init"
    command = ["gcc", "-static", "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(program)]
    subprocess.run([*command, str(_SOURCE)], check=True)
    shown = [
        subprocess.run(
            ["modprobe", "-d", str(kernel.folder), "-S", kernel.release, "--show-depends", name],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for name in _FOR_ROOT
    ]
    paths = [line.split()[1] for text in shown for line in text.splitlines() if "insmod" in line]
    modules = list(dict.fromkeys(paths))
    listed = "".join(f"/{Path(path).name}\n" for path in modules)
    image = into / "initrd"
    with image.open("wb") as output:
        _archive(output.write, "init", program.read_bytes(), 0o100755)
        _archive(output.write, "modules", listed.encode(), 0o100644)
        for path in modules:
            _archive(output.write, Path(path).name, Path(path).read_bytes(), 0o100644)
        _archive(output.write, "TRAILER!!!", b"", 0)
    return image


def _archive(write: object, name: str, data: bytes, mode: int) -> None:
    """Write one entry of a cpio archive in the form "newc", which the kernel reads."""
    assert callable(write)
    numbers = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08x" % number for number in numbers) + name.encode() + b"\0"
    write(head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4))


@contextlib.contextmanager
def _shared(source: Path, socket: Path) -> Iterator[None]:
    """Serve a folder to the guest."""
    options = ["-o", f"source={source}", "-o", "cache=auto", "-o", "sandbox=chroot"]
    server = subprocess.Popen(
        [str(VIRTIOFSD), f"--socket-path={socket}", *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        server.terminate()
        server.wait()


def _exit_on_sigterm(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + signal.SIGTERM)


def run(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    scratch: Path,
    cache: Path,
    timeout: float,
) -> int:
    """Run a command in a fresh guest and return its exit status; raise NoGuest.

    What it prints is passed on. ``environment`` is all that it gets.
    """
    kernel = kernel_in(cache)
    with tempfile.TemporaryDirectory(prefix="sad-qemu-") as folder, contextlib.ExitStack() as held:
        own = Path(folder)
        script = own / "script"
        script.write_text(
            _SCRIPT.format(
                folders=shlex.join(FOLDERS),
                scratch=shlex.quote(str(scratch)),
                modules=shlex.join(_MODULES),
                unpacked=shlex.quote(str(kernel.folder)),
                directory=shlex.quote(str(Path.cwd())),
                environment=shlex.join(f"{name}={value}" for name, value in environment.items()),
                command=shlex.join(command),
            )
        )
        sockets = {"root": own / "root.sock", "scratch": own / "scratch.sock"}
        held.enter_context(_shared(Path("/"), sockets["root"]))
        held.enter_context(_shared(scratch, sockets["scratch"]))
        argv = _argv(kernel, _initrd(kernel, own), script, sockets)
        previous = signal.signal(signal.SIGTERM, _exit_on_sigterm)
        guest = subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            guest.wait(timeout)
        except subprocess.TimeoutExpired:
            raise NoGuest(f"the guest took more than {timeout:g} s") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(guest.pid, signal.SIGKILL)
            guest.wait()
            signal.signal(signal.SIGTERM, previous)
    status = scratch / "status"
    return int(status.read_text()) if status.exists() else 1


def _argv(kernel: Kernel, initrd: Path, script: Path, sockets: Mapping[str, Path]) -> list[str]:
    shares = [
        part
        for tag, socket in sockets.items()
        for part in (
            "-chardev", f"socket,id={tag},path={socket}",
            "-device", f"vhost-user-fs-pci,chardev={tag},tag={tag}",
        )
    ]  # fmt: skip
    return [
        QEMU, "-accel", "tcg", "-cpu", "qemu64", "-machine", "q35", "-smp", "2", "-m", MEMORY,
        "-object", f"memory-backend-memfd,id=memory,size={MEMORY},share=on",
        "-numa", "node,memdev=memory", *shares,
        "-kernel", str(kernel.image), "-initrd", str(initrd),
        "-append", f"console=ttyS0 quiet panic=-1 BENCH_INIT={script}",
        "-display", "none", "-serial", "stdio", "-monitor", "none", "-no-reboot", "-nodefaults",
    ]  # fmt: skip
