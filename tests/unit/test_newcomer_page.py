"""The commands that ``make newcomer`` takes from the README, and the script made of them."""

import subprocess
import tomllib

import pytest

from tests.newcomer.page import PACKAGED, commands, packages, replaced, script
from tests.practice import network
from tests.support.tree import ROOT

README = (ROOT / "README.md").read_text()
PAGE = """\
# a page

## Install

Some words, `and code`.

    sudo apt-get install one two=2 ./three.deb   # and why
    sudo tee /etc/x <<'END'
    a = 1

    b = 2
    END
    make \\
        it

Or otherwise.

    last

### Not this

    never

## Your SIP server

    restart
"""


def run(text: str) -> tuple[int, str]:
    done = subprocess.run(
        ["bash", "-c", text], capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode, done.stdout


def test_commands_are_those_of_the_sections_with_all_their_lines() -> None:
    """A here-document and a continued line are one command; other sections are not followed."""
    assert commands(PAGE) == [
        "sudo apt-get install one two=2 ./three.deb   # and why",
        "sudo tee /etc/x <<'END'\na = 1\n\nb = 2\nEND",
        "make \\\n    it",
        "last",
        "restart",
    ]
    assert packages(commands(PAGE)) == ["one", "two=2"]


@pytest.mark.parametrize("page", ["", PAGE.replace("Your SIP", "My SIP")])
def test_a_page_without_a_section_is_refused(page: str) -> None:
    """So a heading that changes cannot make the way shorter."""
    with pytest.raises(ValueError, match="has no commands"):
        commands(page)


def test_the_first_command_that_fails_ends_the_script_and_is_named() -> None:
    """What comes after it does not run."""
    status, said = run(script(["echo one", "false", "echo three"], after={"echo one": "echo own"}))

    assert status == 1
    assert "$ echo one\none\nown\n" in said
    assert said.endswith("command 2 of the page ended with 1\n")
    assert "three\n" not in said


def test_a_here_document_goes_where_the_page_sends_it() -> None:
    """Run as it stands, quotes and blank lines included."""
    status, said = run(script(["cat <<'END'\nit's $HOME\n\nend\nEND", "echo done"]))

    assert status == 0
    assert "\nit's $HOME\n\nend\n" in said
    assert said.endswith("all 2 commands of the page ran\n")


def test_the_readme_leads_from_packages_to_a_registration() -> None:
    """The way of both: make install, and the package by the page's own words."""
    listed = commands(README)
    assert listed[0].startswith("sudo apt-get install ")
    assert listed[-1].startswith("sudo make phone")
    for word, there in PACKAGED.items():
        assert any(word in command for command in listed), word
        assert not there or f"`{there}`" in README.replace("\n", " "), there
    assert not any("/opt/sad" in replaced(c, PACKAGED).partition("#")[0] for c in listed)


def test_the_practice_network_has_what_the_shipped_examples_name() -> None:
    """The README's endpoint, the example in sad.toml, and Kamailio's."""
    (told,) = (c for c in commands(README) if c.startswith("sudo tee "))
    (endpoint,) = tomllib.loads("\n".join(told.splitlines()[1:-1]))["endpoint"]
    shipped = (ROOT / "systemd/sad.toml").read_text()
    kamailio = (ROOT / "sip_hooks/kamailio/example-ims.cfg").read_text()

    assert endpoint["addresses"] == list(network.EDGE.values())
    assert endpoint["server_port"] == network.SERVER_PORT
    for name in ("addresses", "server_port", "client_ports", "users"):
        value = str(endpoint[name]).replace("'", '"')
        assert f"#{name} = {value}".replace('"', "") in shipped.replace('"', ""), name
    for name, address in (("ACCESS4", network.EDGE[4]), ("ACCESS6", network.EDGE[6])):
        assert f"!_{name}_!{address}!g" in kamailio
    assert f"!_CORE_!{network.EDGE_CORE}!g" in kamailio
    assert f'sad.core_uri = "sip:{network.CORE}:{network.SIP_PORT}"' in kamailio


def test_a_network_that_is_made_is_removed_whole() -> None:
    """The links go with the namespace; addresses that IPv6 would look for first are not."""
    made = network.up()

    assert made[0] == ["netns", "add", network.NAMESPACE]
    assert [word for c in made for word in c if ":" in word and "/" in word] == [
        "2001:db8::1/64",
        "2001:db8::17/64",
    ]
    assert all("nodad" in command for command in made if any("::" in word for word in command))
    assert network.down() == [["netns", "delete", network.NAMESPACE]]
