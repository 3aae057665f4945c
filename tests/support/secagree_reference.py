"""A second reader of the Security-* grammar, one character at a time and straight from the ABNF.

Slow and plain on purpose: the tests compare the product's one-pattern reader with it. It knows the
syntax only, not the limits.
"""

import ipaddress
import string

from sip_hooks.secagree import Parameter

TOKEN_CHARACTERS = frozenset(string.ascii_letters + string.digits + "-.!%*_+`'~")


FORBIDDEN_IN_QUOTES = frozenset(map(chr, (*range(0x20), 0x7F, *range(0xD800, 0xE000)))) - {"\t"}


class _NotInGrammar(Exception):
    pass


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def take(self) -> str:
        character = self.peek()
        if not character:
            raise _NotInGrammar
        self.at += 1
        return character

    def fold(self) -> bool:
        """Take a line end that white space follows; the white space itself stays."""
        for line_end in ("\r\n", "\n"):
            after = self.at + len(line_end)
            if self.text.startswith(line_end, self.at) and self.text[after : after + 1] in {
                " ",
                "\t",
            }:
                self.at = after
                return True
        return False

    def white_space(self) -> None:
        while self.peek() in {" ", "\t"} or self.fold():
            if self.peek() in {" ", "\t"}:
                self.at += 1

    def token(self) -> str:
        start = self.at
        while self.peek() and self.peek() in TOKEN_CHARACTERS:
            self.at += 1
        if self.at == start:
            raise _NotInGrammar
        return self.text[start : self.at]

    def quoted(self) -> str:
        self.take()
        content = ""
        while True:
            if self.fold():
                while self.peek() in {" ", "\t"}:
                    self.at += 1
                content += " "
                continue
            character = self.take()
            if character == '"':
                return content
            if character == "\\":
                character = self.take()
                if ord(character) > 0x7F or character in "\r\n":
                    raise _NotInGrammar
            elif character in FORBIDDEN_IN_QUOTES:
                raise _NotInGrammar
            content += character

    def value(self) -> tuple[str, bool]:
        if self.peek() == '"':
            return self.quoted(), True
        if self.peek() == "[":
            end = self.text.find("]", self.at)
            reference = self.text[self.at : end + 1]
            if end < 0 or "%" in reference:
                raise _NotInGrammar
            try:
                ipaddress.IPv6Address(reference[1:-1])
            except ValueError:
                raise _NotInGrammar from None
            self.at = end + 1
            return reference, False
        return self.token(), False


def _is_qvalue(text: str) -> bool:
    whole, dot, fraction = text.partition(".")
    if whole not in {"0", "1"} or len(fraction) > 3 or (not dot and fraction):
        return False
    return all(digit in (string.digits if whole == "0" else "0") for digit in fraction)


def _obeys_own_rule(name: str, value: str | None, quoted: bool) -> bool:
    name = name.lower()
    if name == "q":
        return value is not None and not quoted and _is_qvalue(value)
    if name == "d-ver":
        return (
            quoted
            and value is not None
            and len(value) == 32
            and set(value) <= set("0123456789abcdef")
        )
    if name in {"d-alg", "d-qop"}:
        return value is not None and not quoted and not value.startswith("[")
    return True


def read_row(row: str) -> list[tuple[str, list[Parameter]]] | None:
    """Return names with parameters in order, or None if the grammar has no place for the row."""
    reader = _Reader(row)
    try:
        return _read_list(reader)
    except _NotInGrammar:
        return None


def _read_list(reader: _Reader) -> list[tuple[str, list[Parameter]]]:
    mechanisms: list[tuple[str, list[Parameter]]] = []
    while True:
        reader.white_space()
        name = reader.token()
        parameters: list[Parameter] = []
        mechanisms.append((name, parameters))
        reader.white_space()
        while reader.peek() == ";":
            reader.take()
            parameters.append(_read_parameter(reader))
        if not reader.peek():
            return mechanisms
        if reader.take() != ",":
            raise _NotInGrammar


def _read_parameter(reader: _Reader) -> Parameter:
    reader.white_space()
    name = reader.token()
    reader.white_space()
    value: str | None = None
    quoted = False
    if reader.peek() == "=":
        reader.take()
        reader.white_space()
        value, quoted = reader.value()
        reader.white_space()
    if not _obeys_own_rule(name, value, quoted):
        raise _NotInGrammar
    return name, value, quoted
