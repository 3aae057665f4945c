"""Markdown to roff with the macros of man(7). Pure.

Of Markdown what manual pages need: headings, paragraphs, lists, code, tables. A table becomes a
list whose first column are the words that are explained.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

_PARSER: Final = MarkdownIt("commonmark").enable("table")
_HEADINGS: Final = {"h2": ".SH", "h3": ".SS"}


def to_roff(text: str, *, version: str) -> str:
    """Return a page; its first line is ``# name(section): what it is``."""
    tokens = _PARSER.parse(text)
    title = tokens[1].content
    name, _, rest = title.partition("(")
    section, _, summary = rest.partition("): ")
    lines = [
        f'.TH "{_escaped(name)}" {section} "" "sad {version}" "sad"',
        ".nh",
        ".ad l",
        ".SH NAME",
        f"{_escaped(name)} \\- {_escaped(summary)}",
        *_Page(tokens[3:]).lines(),
    ]
    return "\n".join(lines) + "\n"


class _Page:
    """Walks over the tokens of a page."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = iter(tokens)

    def lines(self) -> Iterator[str]:
        is_first = True  # a heading begins a paragraph by itself
        for token in self._tokens:
            match token.type:
                case "heading_open":
                    text = _spoken(next(self._tokens))
                    macro = _HEADINGS[token.tag]
                    yield f"{macro} {text.upper() if macro == '.SH' else text}"
                case "paragraph_open":
                    if not is_first:
                        yield ".PP"
                    yield from _inline(next(self._tokens))
                case "bullet_list_open":
                    yield from self._list()
                case "fence":
                    if not is_first:
                        yield ".PP"
                    yield from _verbatim(token.content)
                case "table_open":
                    yield from self._table()
            is_first = token.type == "heading_open" or (is_first and token.type.endswith("_close"))

    def _list(self) -> Iterator[str]:
        for token in self._tokens:
            match token.type:
                case "list_item_open":
                    yield ".IP \\- 2"
                case "inline":
                    yield from _inline(token)
                case "bullet_list_close":
                    return

    def _table(self) -> Iterator[str]:
        cells: list[Token] = []
        in_head = False
        for token in self._tokens:
            match token.type:
                case "thead_open" | "thead_close":
                    in_head = token.type == "thead_open"
                case "tr_open":
                    cells = []
                case "inline":
                    cells.append(token)
                case "tr_close" if not in_head:
                    yield ".TP"
                    yield f"\\fB{_spoken(cells[0])}\\fR"
                    for number, cell in enumerate(cells[1:]):
                        if number and cell.content:
                            yield ".br"
                        yield from _inline(cell)
                case "table_close":
                    return


def _verbatim(content: str) -> Iterator[str]:
    yield from (".RS 4", ".nf")
    for line in content.rstrip("\n").split("\n"):
        yield _line(_escaped(line))
    yield from (".fi", ".RE")


def _spoken(token: Token) -> str:
    """Return the words of a heading or of a term, which are bold as a whole."""
    return "".join(_escaped(child.content) for child in token.children or ())


def _inline(token: Token) -> list[str]:
    text = ""
    target = ""
    for child in token.children or ():
        match child.type:
            case "text":
                text += _escaped(child.content)
            case "code_inline":
                text += f"\\fB{_escaped(child.content)}\\fR"
            case "strong_open":
                text += "\\fB"
            case "em_open":
                text += "\\fI"
            case "strong_close" | "em_close":
                text += "\\fR"
            case "softbreak" | "hardbreak":
                text += "\n"
            case "link_open":
                target = str(child.attrGet("href") or "")
            case "link_close" if target.startswith("http"):
                text += f" <{_escaped(target)}>"
    return [_line(line) for line in text.split("\n")]


def _escaped(text: str) -> str:
    """Return text of which roff changes nothing: a hyphen stays one that can be pasted."""
    return (
        text.replace("\\", "\\e").replace("-", "\\-").replace("~", "\\(ti").replace("^", "\\(ha")
    )


def _line(text: str) -> str:
    """Return a line that is no request."""
    return f"\\&{text}" if text.startswith((".", "'")) else text
