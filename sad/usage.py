"""How the programs answer a wrong command line: one line that says what is wrong, and a way out.

The list of all options that argparse puts before it hides that line; ``--help`` shows it to those
who ask. Imported by ``sadctl``, so it imports nothing else.
"""

from argparse import ArgumentParser
from typing import NoReturn


class Parser(ArgumentParser):
    """A command line whose errors are short; its verbs are of this class, too."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and leave with status 2."""
        self.exit(2, f"{self.prog}: {message}\nhint: {self.prog} --help\n")
