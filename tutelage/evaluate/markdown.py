"""Model and user text made safe to look at: Markdown to a small set of HTML tags, invisible characters made visible.

Every text is treated as hostile. HTML in it stays text (markdown-it-py with html off), links and images become words
with their address spelled out, and whatever comes out passes through nh3 with a short list of tags and no addresses.

Leaves out: syntax colouring, mathematics and footnotes.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping, Sequence
from functools import cache
from html import escape
from typing import Any

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markupsafe import Markup

# Markdown of a longer text is not worth the time that a hostile one could take; it is shown as it stands.
MAX_MARKDOWN_CHARS = 20_000

_TEXT_TAGS = {"p", "br", "hr", "strong", "em", "s", "code", "pre", "blockquote", "ul", "ol", "li", "h4", "h5", "h6"}
_TAGS = _TEXT_TAGS | {"table", "thead", "tbody", "tr", "th", "td", "span", "div"}
_ATTRIBUTES = {"ol": {"start"}, "span": {"class"}, "div": {"class", "tabindex"}}
_HEADING_SHIFT = 3  # the page's own headings end at h3
# Control characters, lone surrogates and non-characters cannot stand in HTML; bidirectional overrides reorder a line.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff\u202a-\u202e\u2066-\u2069\u2028\u2029]"
)
_FAR_NONCHARACTER = re.compile(
    "[" + "".join(chr(plane * 0x10000 + 0xFFFE) + chr(plane * 0x10000 + 0xFFFF) for plane in range(1, 17)) + "]"
)


def clean_text(text: str) -> str:
    """The text with every character that a page or terminal cannot show safely spelled out: NUL becomes ⟨U+0000⟩."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _FAR_NONCHARACTER.sub(_spell_out, _UNPRINTABLE.sub(_spell_out, text))


def _spell_out(match: re.Match[str]) -> str:
    return f"⟨U+{ord(match.group()):04X}⟩"


def render_markdown(text: str) -> Markup:
    """Safe HTML for a text that may be Markdown; single line breaks stay line breaks."""
    text = clean_text(text)
    if len(text) > MAX_MARKDOWN_CHARS:
        return Markup('<div class="plain">{}</div>').format(text)
    # Cleaned again afterwards, because Markdown turns "&#x202e;" into the character itself.
    html = clean_text(_markdown().render(text))
    return Markup(nh3.clean(html, tags=_TAGS, attributes=_ATTRIBUTES, url_schemes=set(), link_rel=None))


@cache
def _markdown() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable(["table", "strikethrough"])
    parser.disable("reference")  # "[name]: text" would vanish from the page
    parser.core.ruler.push("demote_headings", _demote_headings)
    for name, rule in _RULES.items():
        parser.add_render_rule(name, rule)
    return parser


def _demote_headings(state: Any) -> None:
    for token in state.tokens:
        if token.type in {"heading_open", "heading_close"}:
            token.tag = f"h{min(6, int(token.tag[1]) + _HEADING_SHIFT)}"


Env = MutableMapping[str, Any]


def _link_open(self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Env) -> str:
    env.setdefault("links", []).append(str(tokens[index].attrGet("href") or ""))
    return '<span class="link">'


def _link_close(self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Env) -> str:
    address = env["links"].pop()
    written_out = tokens[index - 1].content == address
    return "</span>" if written_out else f'</span> <span class="address">({escape(address)})</span>'


def _image(self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Env) -> str:
    address = str(tokens[index].attrGet("src") or "")
    return f'<span class="address">[image: {escape(tokens[index].content)} ({escape(address)})]</span>'


def _table_open(self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Env) -> str:
    return '<div class="wide" tabindex="0"><table>'


def _table_close(self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Env) -> str:
    return "</table></div>"


_RULES = {
    "link_open": _link_open,
    "link_close": _link_close,
    "image": _image,
    "table_open": _table_open,
    "table_close": _table_close,
}
