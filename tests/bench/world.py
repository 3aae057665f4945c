"""What a measuring module is given: where it runs, how often, and a way to say how far it is."""

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SOURCES: Final = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The place of one run.

    ``lane`` is "uml", "host" (this kernel, in fresh namespaces) or "qemu"; ``repeat`` how many
    trials of each contender count; ``scale`` a factor to all populations (1: those of the issue);
    ``folder`` is the module's own, on a file system in memory; what lies in ``programs`` was
    compiled outside, for a guest forks slowly.
    """

    lane: str
    memory: str
    repeat: int
    scale: float
    folder: Path
    programs: Path

    def population(self, number: int) -> int:
        """Return a population by this run's scale, and never nothing."""
        return max(16, round(number * self.scale))

    def program(self, name: str) -> Path:
        """Return the compiled form of ``NAME.c``."""
        return self.programs / name

    def say(self, words: str) -> None:
        """Show progress."""
        print(f"    {words}", flush=True)


def compile_programs(names: Sequence[str], into: Path) -> None:
    """Compile ``NAME.c`` for each name: ``lib*.c`` to a shared library, others to a program.

    Raises CalledProcessError with the compiler's words as a note.
    """
    for name in names:
        shared = ["-shared", "-fPIC"] if name.startswith("lib") else []
        command = ["gcc", "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", *shared]
        done = subprocess.run(
            [*command, "-o", str(into / name), str(SOURCES / f"{name}.c")],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            error = subprocess.CalledProcessError(done.returncode, done.args)
            error.add_note(done.stderr)
            raise error


def kernel_release() -> str:
    """Return the kernel's release."""
    return platform.release()


def memory_of_guest() -> str:
    """Return the memory of this kernel in MiB, as it says itself."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return f"{pages >> 20} MiB"


def python_version() -> str:
    """Return the version that runs this."""
    return sys.version.split()[0]
