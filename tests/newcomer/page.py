"""The commands of the README's sections that lead from nothing to a registration: pure text.

A block that is indented by four spaces holds commands; one that begins a here-document, or ends
with a backslash, goes on in the next lines. Nothing else of the page is known here, so the page
cannot say one thing and this another.
"""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

#: What a newcomer follows, in this order.
SECTIONS: Final = ("Install", "Your SIP server")
#: The page's own words for the package: "in the place of make install", "on the path", "is".
PACKAGED: Final = {
    "sudo make install": "sudo apt-get install ./build/sad_*.deb",
    "/opt/sad/bin/": "",
    "/opt/sad/share": "/usr/lib/sad/share",
}

_HEADING: Final = re.compile(r"^#{2,3} (.+)$", re.MULTILINE)
_HERE: Final = re.compile(r"<<-?'?(\w+)'?")


def commands(page: str, sections: Sequence[str] = SECTIONS) -> list[str]:
    """Return the commands of these sections, each with all its lines; ValueError if one has none.

    A section ends at the next heading of any depth.
    """
    found = []
    for section in sections:
        listed = list(_commands(_lines_of(page, section)))
        if not listed:
            raise ValueError(f"the page has no commands in a section {section!r}")
        found += listed
    return found


def packages(listed: Sequence[str]) -> list[str]:
    """Return the Debian packages that the commands install; files are none."""
    names: list[str] = []
    for command in listed:
        if command.startswith("sudo apt-get install "):
            words = shlex.split(command.replace("\\\n", " "), comments=True)[3:]
            names += [word for word in words if "/" not in word]
    return names


def replaced(command: str, words: Mapping[str, str]) -> str:
    """Return a command as the page has it for another way of installing."""
    for here, there in words.items():
        command = command.replace(here, there)
    return command


def script(listed: Sequence[str], after: Mapping[str, str] | None = None) -> str:
    """Return a script of bash: each command is said, run as it stands, and timed.

    The first that fails ends it with status 1 and says which it was. ``after`` has commands of the
    trial's own, by a word of the page's command that they follow.
    """
    parts = [_HEAD]
    for number, command in enumerate(listed, 1):
        parts.append(f"say {shlex.quote(command)}\n{command}\nran {number} $?\n")
        parts += [f"{own}\n" for word, own in (after or {}).items() if word in command]
    return "".join([*parts, _TAIL.format(count=len(listed))])


_HEAD: Final = """\
began=$SECONDS
say() { printf '\\n[%4d s] %s\\n' $((SECONDS - began)) "\\$ $1"; }
ran() {
    [ "$2" = 0 ] && return
    echo "newcomer: command $1 of the page ended with $2"
    exit 1
}
"""
_TAIL: Final = """\
printf '\\n[%4d s] all {count} commands of the page ran\\n' $((SECONDS - began))
"""


def _lines_of(page: str, section: str) -> list[str]:
    for heading in _HEADING.finditer(page):
        if heading[1] == section:
            after = page[heading.end() :]
            following = _HEADING.search(after)
            return after[: following.start() if following else None].splitlines()
    return []


def _commands(lines: Sequence[str]) -> Iterator[str]:
    command: list[str] = []
    ending: str | None = None
    for line in lines:
        if not line.startswith("    ") and not (ending and not line):
            continue
        text = line[4:]
        command.append(text)
        if ending is None:
            here = _HERE.search(text)
            ending = here[1] if here else None
        elif text == ending:
            ending = None
        if ending is None and not text.endswith("\\"):
            yield "\n".join(command)
            command = []
