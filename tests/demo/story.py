"""How the demo speaks: chapters, statements, and checks that are counted."""

import textwrap
import time


class Story:
    """Prints as it goes; :meth:`verdict` says whether every check held."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._checks = 0
        self._failed: list[str] = []

    def chapter(self, title: str, detail: str = "") -> None:
        """Begin a chapter."""
        print(f"\n{title}{': ' + detail if detail else ''}", flush=True)

    def say(self, text: str) -> None:
        """State something."""
        print(
            textwrap.fill(
                text,
                96,
                initial_indent="  ",
                subsequent_indent="    ",
                break_on_hyphens=False,
                break_long_words=True,
            ),
            flush=True,
        )

    def line(self, text: str) -> None:
        """Say one line as it is."""
        print(f"  {text}", flush=True)

    def show(self, title: str, text: str) -> None:
        """Show what a program printed."""
        print(f"  $ {title}")
        print(textwrap.indent(text.rstrip(), "    "), flush=True)

    def check(self, held: bool, claim: str) -> None:
        """State a claim and whether it held."""
        self._checks += 1
        if not held:
            self._failed.append(claim)
        print(f"  [{'ok' if held else 'FAILED'}] {claim}", flush=True)

    def verdict(self) -> int:
        """Print the outcome; return the exit status."""
        seconds = time.monotonic() - self._begun
        held = self._checks - len(self._failed)
        print(f"\n{held} of {self._checks} checks held in {seconds:.0f} s", flush=True)
        for claim in self._failed:
            print(f"  FAILED: {claim}", flush=True)
        return 1 if self._failed else 0
