"""The report as a file: whole, self-contained, structured, and deaf to whatever stands in its texts."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tutelage.errors import TutelageError
from tutelage.evaluate.report import ModelResult, RunCurve, render_report, write_report
from tutelage.types import Answer, Message, Prompt

VOID = {"meta", "input", "br", "hr"}
CSP = re.compile(
    r"default-src 'none'; style-src '(sha256-[^']+)'; script-src '(sha256-[^']+)'; base-uri 'none'; form-action 'none'"
)


class Page(HTMLParser):
    """Reads a page and keeps its tags; fails on a tag that is closed out of order."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, list[str]] = {}
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        if self.open:
            self.text.setdefault(self.open[-1], []).append(data)

    def count(self, tag, **attributes):
        return sum(name == tag and attributes.items() <= found.items() for name, found in self.tags)


def prompt(i, content="How do you clean a dirty pan?", **fields):
    return Prompt((Message("user", content),), id=f"p{i}", **fields)


def model(name="base", texts=("Vinegar.",), *, stopped=True, origin="made here", **prompt_fields):
    answers = [Answer(prompt(i, **prompt_fields), text, 4, stopped, name) for i, text in enumerate(texts)]
    return ModelResult(name, origin, answers)


def render(models, *, title="A report", curves=(), facts=None, first_prompts=()):
    return render_report(title=title, models=models, curves=curves, facts=facts or {}, first_prompts=first_prompts)


def assert_harmless(html: str) -> Page:
    """The page is balanced and holds one style and one script (ours), no event handlers, no outside addresses."""
    page = Page(html)
    assert page.open == []
    assert page.count("script") == page.count("style") == 1
    for tag, attributes in page.tags:
        assert tag not in {"iframe", "img", "object", "embed", "link", "base", "audio", "video", "use", "foreignobject"}
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            assert name not in {"src", "style", "srcdoc", "action", "formaction", "xlink:href"}, (tag, name)
            assert name != "href" or re.fullmatch(r"#[a-z0-9-]+", value or ""), value
    for kind, digest in zip(("style", "script"), CSP.search(html).groups(), strict=True):
        content = re.search(f"<{kind}>(.*?)</{kind}>", html, re.DOTALL).group(1)
        assert digest == "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
    return page


HOSTILE = [
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "</style></title><svg onload=alert(1)>",
    "<img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "' autofocus onfocus='alert(1)",
    "[click](javascript:alert(1))",
    "javascript:alert(1)",
    "a\u2028b\u2029c",
    "\x00\x1b[31m\ud800\udfff\ufffe",
    "{{ 7 * 7 }}{% raw %}",
    "-->]]>*/",
    "&lt;script&gt;&#x3c;script&#x3e;",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_anywhere_changes_nothing_of_the_structure(text):
    checks = ({"check": "contains", "value": text},)
    fields = {"reference": text, "checks": checks, "meta": {"category": text}}
    prompts = [Prompt((Message("user", text),), id=f"{text}{i}", **fields) for i in range(2)]
    answers = [Answer(prompt, text, 4, True) for prompt in prompts]
    curve = RunCurve(text, [1, 2, 3], {"loss": [3.0, 2.0, 1.0], text: [1.0, 2.0, 3.0]})
    page = assert_harmless(
        render(
            [ModelResult(text, text, answers), ModelResult(text + "2", text, answers)],
            title=text,
            curves=[curve],
            facts={text: text},
            first_prompts=[text],
        )
    )
    assert page.count("article") == 2
    assert page.count("figure") == 2


def test_template_syntax_in_a_text_is_not_run():
    assert "{{ 7 * 7 }}" in render([model("{{ 7 * 7 }}", ["{{ 7 * 7 }}"])], title="{{ 7 * 7 }}")


def test_hostile_text_is_still_readable():
    page = assert_harmless(render([model(texts=("<script>alert(1)</script>",))]))
    assert "<script>alert(1)</script>" in "".join(page.text["p"])


def test_a_category_that_is_not_text_is_shown_as_text():
    assert_harmless(render([model(meta={"category": 7})]))


@pytest.mark.parametrize("num_models", [1, 2, 3, 4])
def test_one_to_four_models_stand_side_by_side(num_models):
    models = [model(f"m{i}", ["A pan."] * 3) for i in range(num_models)]
    page = assert_harmless(render(models))
    assert page.count("article") == 3
    assert (
        sum(tag == "div" and (found.get("class") or "").startswith("answer c") for tag, found in page.tags)
        == 3 * num_models
    )


def test_the_page_needs_no_network_and_forbids_it():
    html = render([model()], curves=[RunCurve("run", [1, 2], {"loss": [2.0, 1.0]})])
    assert_harmless(html)
    assert "http:" not in html.replace("http-equiv", "")
    assert "https:" not in html


def test_the_page_is_small():
    curve = RunCurve("run", list(range(5_000)), {"loss": [1.0 + i % 7 for i in range(5_000)]})
    models = [model("a", ["A pan. " * 40] * 80), model("b", ["A pan. " * 40] * 80)]
    assert len(render(models, curves=[curve])) < 500_000


def test_findings_measures_badges_and_checks_are_on_the_page():
    checks = ({"check": "max_words", "value": 3}, {"check": "contains", "value": "vinegar"})
    before = model(
        "base", ["Scrub the pan with it. " * 5 + "And"] * 8, stopped=False, checks=checks, reference="Vinegar."
    )
    after = model("tuned", ["Use vinegar."] * 8, checks=checks, reference="Vinegar.")
    html = render([before, after], facts={"Seed": "7"})
    assert "is better than base on" in html
    assert 'aria-label="Stops by itself: 0\u00a0% → 100\u00a0% [68, 100], better"' in html
    for words in ("cut off mid-sentence", "loops (25 words)", ">stopped<", "at most 3 words", "missed: ", "followed: "):
        assert words in html
    assert "With 8 prompts, a proportion near one half is known to ± 34.6 points (95 % interval)" in html
    assert "human" not in html.lower()


def test_a_page_without_curves_or_facts_has_neither_section():
    html = render([model()])
    assert 'id="training"' not in html
    assert 'class="facts"' not in html


def test_first_prompts_come_first_by_id_or_by_question():
    answers = [Answer(prompt(i, f"Question {i}?"), "Yes.", 2, True) for i in range(4)]
    html = render([ModelResult("m", "", answers)], first_prompts=["Question 3?", "p1"])
    assert re.findall(r"<bdi>(p\d)</bdi></a>", html) == ["p3", "p1", "p0", "p2"]


def test_every_turn_of_a_conversation_is_shown_with_its_role():
    turns = (
        Message("system", "Be brief."),
        Message("user", "Tea?"),
        Message("assistant", "Yes."),
        Message("user", "Now?"),
    )
    html = render([ModelResult("m", "", [Answer(Prompt(turns), "Now.", 2, True)])])
    assert re.findall(r'class="role">(\w+)<', html) == ["system", "user", "assistant", "user"]
    assert "prompt 1" in html


def test_filters_offer_each_problem_with_its_count():
    html = render([model("a", ["Pan", "Pan."], stopped=False)])
    assert '<option value="0:cut off">cut off (2)</option>' in html
    assert html.count('data-flags="0:cut off"') == 2


def test_tables_have_headers_and_the_page_has_landmarks():
    page = Page(render([model("a"), model("b")]))
    assert page.count("main") == 1
    assert page.count("nav") == 1
    assert page.count("h1") == 1
    assert page.count("th", scope="col") == 6  # measure, plot, two models, difference, verdict
    assert page.count("th", scope="row") > 8
    assert page.count("html", lang="en") == 1


def test_ids_are_unique():
    page = Page(render([model("a", ["x"] * 3)], curves=[RunCurve("r", [1], {"loss": [1.0]})]))
    ids = [found["id"] for _, found in page.tags if "id" in found]
    assert len(ids) == len(set(ids))


def write(path: Path, **changes):
    write_report(path, **{"title": "T", "models": [model()]} | changes)


def test_the_file_is_written_whole_and_replaces_the_old_one(tmp_path):
    path = tmp_path / "new" / "report.html"
    write(path, title="First")
    write(path, title="Second")
    assert "<title>Second</title>" in path.read_text(encoding="utf-8")
    assert [item.name for item in path.parent.iterdir()] == ["report.html"]


def test_a_report_that_cannot_be_written_is_one_line_and_leaves_nothing(tmp_path):
    target = tmp_path / "report.html"
    target.mkdir()
    with pytest.raises(TutelageError) as raised:
        write(target)
    assert str(raised.value) == (
        f"cannot write the report {target}: Is a directory; choose another place or free some space"
    )
    assert [item.name for item in tmp_path.iterdir()] == ["report.html"]


def test_a_full_disk_keeps_the_old_report(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    write(path, title="Old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(TutelageError, match="No space left on device; choose another place or free some space"):
        write(path, title="New")
    assert "<title>Old</title>" in path.read_text(encoding="utf-8")
    assert [item.name for item in tmp_path.iterdir()] == ["report.html"]


def test_the_same_input_gives_the_same_bytes():
    models = [model("a", ["x y z"] * 4), model("b", ["x y"] * 4)]
    assert render(models) == render(models)


FRAGMENTS = st.sampled_from([*HOSTILE, "<!--", "<b>", "```", "|a|\n|-|\n", "# ", "> ", "\u202e", "]]>", "\\", "%"])
ANY_TEXT = st.lists(st.text(st.characters(exclude_categories=()), max_size=20) | FRAGMENTS, max_size=4).map("".join)


@settings(deadline=None, max_examples=120, suppress_health_check=[HealthCheck.too_slow])
@given(st.tuples(*[ANY_TEXT] * 6))
def test_arbitrary_text_never_breaks_the_page(texts):
    title, name, question, first, second, reference = texts
    answers = [
        [Answer(Prompt((Message("user", question),), reference, reference, meta={"category": name}), text, 1, True)]
        for text in (first, second)
    ]
    models = [ModelResult(name, title, answers[0]), ModelResult(name, reference, answers[1])]
    html = render(
        models,
        title=title,
        curves=[RunCurve(name, [1, 2], {"loss": [2.0, 1.0]})],
        facts={question: first},
    )
    assert_harmless(html)
    html.encode("utf-8")
