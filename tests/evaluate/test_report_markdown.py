"""Model text on a page: Markdown where it is harmless, letters where it is not."""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.evaluate.markdown import MAX_MARKDOWN_CHARS, clean_text, render_markdown


def test_ordinary_markdown_is_rendered():
    html = render_markdown("Mix **2 parts** vinegar:\n\n3. scrub\n4. rinse\n\n`pan`")
    assert html == (
        '<p>Mix <strong>2 parts</strong> vinegar:</p>\n<ol start="3">\n<li>scrub</li>\n<li>rinse</li>\n</ol>\n'
        "<p><code>pan</code></p>\n"
    )


def test_single_line_breaks_stay():
    assert render_markdown("one\ntwo") == "<p>one<br>\ntwo</p>\n"


def test_headings_stay_below_the_headings_of_the_page():
    assert render_markdown("# Top\n\n###### Deep") == "<h4>Top</h4>\n<h6>Deep</h6>\n"


def test_role_tokens_are_shown_as_letters():
    assert "&lt;end_of_turn&gt;" in render_markdown("Paris.<end_of_turn>")


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<svg/onload=alert(1)>",
        "<a href='javascript:alert(1)'>x</a>",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt&colon;alert(1))",
        "[x](data:text/html,<script>alert(1)</script>)",
        "[x](http://a.b/'onmouseover='alert(1))",
        '[x](http://a.b "\' onclick=alert(1)")',
        "![x](http://tracker.example/pixel.png)",
        "![x](x' onerror='alert(1))",
        "<http://a.b/?<script>>",
        "[x]: javascript:alert(1)\n\n[x]",
        "```html\n</code></pre><script>alert(1)</script>\n```",
        "`</code><script>`",
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "&#60;script&#62;",
        "| <script> | b |\n|---|---|\n| <b onclick=x> | c |",
        "<!-- --><style>*{display:none}</style>",
    ],
)
def test_hostile_text_becomes_letters(text):
    html = str(render_markdown(text))
    tags = re.findall(r"<[^>]*>", html)
    for tag in tags:
        assert re.fullmatch(
            r"</?(p|h4|pre|code|table|thead|tbody|tr|th|td|div|span)>|<span class=\"(link|address)\">"
            r"|<div class=\"wide\" tabindex=\"0\">|<br>",
            tag,
        ), tag


def test_links_and_images_are_spelled_out_and_not_clickable():
    html = render_markdown("see [this](https://example.org/a?b=1&c=2) and ![a pan](http://x.example/p.png)")
    assert html == (
        '<p>see <span class="link">this</span> <span class="address">(https://example.org/a?b=1&amp;c=2)</span> and '
        '<span class="address">[image: a pan (http://x.example/p.png)]</span></p>\n'
    )


def test_a_bare_address_is_written_once():
    assert render_markdown("<https://example.org>") == '<p><span class="link">https://example.org</span></p>\n'


def test_nothing_that_looks_like_a_reference_definition_vanishes():
    assert "hello" in render_markdown("[note]: hello")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x00b", "a⟨U+0000⟩b"),
        ("\x1b[2J", "⟨U+001B⟩[2J"),
        ("line\u2028end", "line⟨U+2028⟩end"),
        ("\u202egnp.exe", "⟨U+202E⟩gnp.exe"),
        ("\ud800", "⟨U+D800⟩"),
        ("\ufffe \U0001ffff", "⟨U+FFFE⟩ ⟨U+1FFFF⟩"),
        ("a\r\nb\rc\td", "a\nb\nc\td"),
        ("é 中 👍 \u200d", "é 中 👍 \u200d"),
    ],
)
def test_unprintable_characters_are_spelled_out(text, shown):
    assert clean_text(text) == shown


def test_a_character_reference_cannot_smuggle_in_an_override():
    assert "⟨U+202E⟩" in render_markdown("&#x202e;exe")


def test_a_very_long_text_is_shown_as_it_stands():
    html = render_markdown("**a** <b>" + "x" * MAX_MARKDOWN_CHARS)
    assert html.startswith('<div class="plain">**a** &lt;b&gt;xxx')


def test_hostile_nesting_takes_no_time():
    started = time.perf_counter()
    for unit in (">", "[", "* ", "_a", "`", "![", "[a](", "|a", "- \n", "**a", "<", "\\", "~~a"):
        render_markdown((unit * MAX_MARKDOWN_CHARS)[:MAX_MARKDOWN_CHARS])
    assert time.perf_counter() - started < 20


@settings(deadline=None)
@given(st.text(st.sampled_from("<>&\"'`*_[]()!|-#:/ \n\tax\x00\u2028\ud800"), max_size=80))
def test_only_known_tags_ever_come_out(text):
    html = str(render_markdown(text))
    for tag in re.findall(r"<(/?\w+)", html):
        assert tag.lstrip("/") in {
            *("p", "br", "hr", "strong", "em", "s", "code", "pre", "blockquote", "ul", "ol", "li", "h4", "h5", "h6"),
            *("table", "thead", "tbody", "tr", "th", "td", "span", "div"),
        }
