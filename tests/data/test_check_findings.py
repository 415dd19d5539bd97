"""Each finding of a check: a case that it reports, word for word, and cases that it must leave alone."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any

import pytest

from tutelage.data import Finding, check_file
from tutelage.data.checks import role_token, truncation
from tutelage.data.duplicates import SealedLookup
from tutelage.data.similarity import jaccard, normalise, shingles
from tutelage.types import Message, Prompt


def pair(prompt: str, answer: str) -> dict[str, str]:
    return {"prompt": prompt, "completion": answer}


def findings(records: Sequence[dict[str, Any]], code: str, **options: Any) -> list[Finding]:
    options.setdefault("sealed", [])
    return [finding for finding in check_file(list(records), **options).findings if finding.code == code]


def varied(count: int) -> list[dict[str, str]]:
    """Pairs of unlike words and like lengths, so that nothing but the planted record stands out."""
    rng = random.Random(1)
    kinds = "plum pear onion carrot radish lentil barley walnut almond ginger fennel turnip".split()  # noqa: SIM905
    return [
        pair(
            f"What should I do with {number} bags of {rng.choice(kinds)}?",
            f"Wash the {rng.choice(kinds)} first, and then cook it with {number} spoons of {rng.choice(kinds)}.",
        )
        for number in range(count)
    ]


# ---- truncated answers

PROSE = "Start with a clean pan. Then heat the oil slowly and watch that it does not"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (PROSE, "the last sentence has no end"),
        ("Wipe the table and the", "it ends with 'the'"),
        ("You need flour, water, a little salt,", "it ends with ','"),
        ("Here are the three steps you need:", "it ends with ':' and nothing follows"),
        ("Use a small pan (about 20 cm", "'(' is opened and not closed"),
        ('{"name": "plum",\n "colours": ["blue"', "'[' is opened and not closed"),
        ("Run this:\n```python\nprint(1)", "a code block is opened and not closed"),
    ],
)
def test_an_answer_that_is_cut_short(answer: str, reason: str) -> None:
    found = findings([pair("How?", answer)], "truncated-answer")
    assert [finding.message for finding in found] == [f"the answer seems cut short: {reason}"]
    assert (found[0].severity, found[0].line, found[0].field) == ("warning", 1, "completion")


@pytest.mark.parametrize(
    "answer",
    [
        "Plum",
        "Plums and pears",
        "Yes.",
        "Wash it. Dry it. Done!",
        "1. Flour\n2. Two cups of cold water from the tap\n3. A little salt and some oil for the pan",
        "- Flour.\n- Water,\n- Salt and a drop of oil for the pan and the board",
        "| fruit | colour |\n|---|---|\n| plum | blue |",
        "Dear team,\n\nThe meeting is moved.\n\nKind regards,\nAnna",
        "Dear team,\n\nThe meeting is moved.\n\nLooking forward to seeing you there,",
        "```python\nprint((1)\n```",
        "Run `print(` to see the error yourself",
        "Sorry to hear that :(",
        'The opening bracket is "("',
        "The result is 3 × 4 = 12",
        "the total is 12 kg. so you need twelve bags of one kilo each, which is 12",
        '{"text": "an open ( bracket"}',
        "[0, 5)",
        "He said “stop.”",
        "How To Bake A Plain Loaf Of Bread At Home",
        "ok see you at five then and bring the thing with you",
        "roses are red\nviolets are blue\nthis line is longer than the others on the whole page",
        "Read more. It is all explained on the page at example.org/help/how-to-clean",
        "先把锅洗干净。然后加热",
        "Answer: A",
        "Options. Pick the one that you would like to have for yourself, then answer: b",
    ],
)
def test_an_answer_that_may_end_so(answer: str) -> None:
    assert truncation(answer) is None


# ---- duplicates


def test_an_exact_duplicate_whatever_its_case_and_spacing() -> None:
    records = [pair("Name a fruit.", "Plum."), pair("Name a herb.", "Dill."), pair("name a  FRUIT", "plum")]
    found = findings(records, "exact-duplicate")
    assert [(finding.line, finding.message) for finding in found] == [(3, "the same prompt and answer as record 1")]


def test_the_same_prompt_with_another_answer() -> None:
    records = [pair("Name a fruit.", "Plum."), pair("Name a fruit!", "Pear.")]
    found = findings(records, "same-prompt")
    assert [(finding.line, finding.field) for finding in found] == [(2, "prompt")]
    assert found[0].message == "the same prompt as record 1, with a different answer"
    assert findings(records, "exact-duplicate") == []


def test_another_operator_is_another_question() -> None:
    records = [pair("What is 5 + 3?", "8"), pair("What is 5 - 3?", "2")]
    assert check_file(records, sealed=[]).findings == ()


LONG = "Rinse the rice in cold water until the water stays clear then simmer it for twelve minutes and rest it covered"


def test_a_near_duplicate_names_the_pair_and_the_similarity() -> None:
    # 3 + 21 words give 22 triples; "so" in front adds the triple "so cook rice": 22 / 23 = 96 %.
    records = [pair("Cook rice how?", LONG), pair("Peel a plum.", "Score it."), pair("So cook rice how?", LONG)]
    found = findings(records, "near-duplicate")
    assert [(finding.line, finding.message) for finding in found] == [
        (3, "nearly the same as record 1: 96% of their word triples are shared")
    ]


def test_a_shared_system_message_makes_no_near_duplicates() -> None:
    records = [{**pair(f"Name fruit {name}.", f"{name} it is."), "system": LONG * 3} for name in ("plum", "pear")]
    assert findings(records, "near-duplicate") == []


def test_near_duplicates_are_those_that_comparing_every_pair_finds() -> None:
    rng = random.Random(0)
    words = [f"w{number}" for number in range(400)]
    records = [pair("Say it.", " ".join(rng.choices(words, k=40))) for _ in range(60)]
    for number in range(60):
        changed = records[number]["completion"].split()
        for _ in range(number % 6):
            changed[rng.randrange(40)] = rng.choice(words)
        records.append(pair("Say it.", " ".join(changed)))
    records = [{**record, "prompt": f"p{place}"} for place, record in enumerate(records)]
    runs = [shingles(f"{record['prompt']}\n{record['completion']}") for record in records]
    expected = {place + 1 for place in range(60, 120) if jaccard(runs[place], runs[place - 60]) >= 0.8}
    assert 15 < len(expected) < 45
    assert {finding.line for finding in findings(records, "near-duplicate")} == expected


def test_a_thousand_look_alikes_are_bounded_work_and_said_so() -> None:
    rng = random.Random(0)
    template = " ".join(f"word{number}" for number in range(60))
    records = [
        pair(template + " " + " ".join(f"x{rng.randrange(10**6)}" for _ in range(12)), "Yes.") for _ in range(1000)
    ]
    (note,) = findings(records, "near-duplicate")
    assert note.severity == "note"
    assert note.message.endswith(" records look like more than 100 others each; only the first 100 were compared")


def test_jaccard_by_hand() -> None:
    # {a b c, b c d} and {b c d, c d e}: one shared of three.
    assert jaccard(shingles("a b c d"), shingles("b c d e")) == pytest.approx(1 / 3)
    assert shingles("a b") == {"a b"}
    assert shingles("!") == set()
    assert normalise("  Café’s\nMENU ?!") == "café's menu"


# ---- sealed prompts

SEALED = [
    Prompt((Message("user", "How do I stop a bathroom mirror from fogging up in winter mornings?"),), id="sealed-01"),
    Prompt(
        (Message("user", "Name a fruit."), Message("assistant", "Plum."), Message("user", "Another.")), id="sealed-02"
    ),
]


def test_a_sealed_prompt_is_an_error() -> None:
    records = [pair("how do I stop a bathroom mirror from fogging up in winter mornings", "Wipe it.")]
    (finding,) = findings(records, "sealed-prompt", sealed=SEALED)
    assert (finding.severity, finding.field) == ("error", "prompt")
    assert finding.message == ("this prompt is the sealed prompt 'sealed-01'; remove it, or the report measures memory")


def test_a_nearly_sealed_prompt_is_an_error() -> None:
    # 13 words give 11 triples; one word more at the end gives 12, 11 of them shared: 92 %.
    records = [pair("How do I stop a bathroom mirror from fogging up in winter mornings quickly?", "Wipe it.")]
    (finding,) = findings(records, "sealed-prompt", sealed=SEALED)
    assert finding.message == (
        "this prompt is nearly (92%) the sealed prompt 'sealed-01'; remove it, or the report measures memory"
    )


def test_a_sealed_prompt_in_a_later_turn_or_over_several_turns() -> None:
    mirror = "How do I stop a bathroom mirror from fogging up in winter mornings?"
    turns = ["Hello.", "Hello!", mirror, "Wipe it."]
    several = ["Name a fruit.", "Plum!", "Another.", "Pear."]
    records = [
        {"messages": [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(texts)]}
        for texts in (turns, several)
    ]
    found = findings(records, "sealed-prompt", sealed=SEALED)
    assert [(finding.line, finding.field) for finding in found] == [
        (1, "messages[2].content"),
        (2, "messages[2].content"),
    ]


def test_a_follow_up_alone_is_not_the_sealed_conversation() -> None:
    records = [pair("Another.", "Which one?"), pair("How do I stop a mirror from falling down?", "Use two hooks.")]
    assert findings(records, "sealed-prompt", sealed=SEALED) == []


def test_the_shipped_sealed_prompts_are_the_default() -> None:
    from tutelage.data import load_prompts

    prompt = next(prompt for prompt in load_prompts("sealed") if len(prompt.messages) == 1)
    report = check_file([pair(prompt.messages[0].content, "Yes.")])
    assert [finding.code for finding in report.findings if finding.severity == "error"] == ["sealed-prompt"]
    assert not report.ok


def test_a_lookup_without_prompts_finds_nothing() -> None:
    assert SealedLookup([]).find("Name a fruit.") is None
    assert SealedLookup([Prompt((Message("user", "?!"),))]).find("...") is None


# ---- role tokens


@pytest.mark.parametrize(
    ("answer", "token"),
    [
        ("Plum.<|im_end|>", "<|im_end|>"),
        ("Plum.<end_of_turn>\n<start_of_turn>user", "<end_of_turn>"),
        ("Plum.<|eot_id|>", "<|eot_id|>"),
        ("[INST] Name a fruit. [/INST] Plum.", "[INST]"),
        ("Plum.</s>", "</s>"),
        ("<<SYS>> Be brief.", "<<SYS>>"),
        ("Plum.\n### Human: Another?", "### Human:"),
        ("Plum.\n\nHuman: Another?", "Human:"),
        ("Plum.\nUser: Another?\nAssistant: Pear.", "User:"),
        ("Plum.<｜User｜>Another?", "<｜User｜>"),
    ],
)
def test_a_role_token_in_an_answer(answer: str, token: str) -> None:
    (finding,) = findings([pair("Name a fruit.", answer)], "role-token")
    assert finding.message == f"the answer holds '{token}', which marks turns and would be taught as text; remove it"
    assert (finding.severity, finding.field) == ("warning", "completion")


@pytest.mark.parametrize(
    "answer",
    [
        "The user: a person.",
        "a <b> c",
        "Use <|> as a pipe.",
        "## Steps\n1. Go.",
        "x[INSTANT]",
        "<s>old</ s>",
        "s/INST/x/",
    ],
)
def test_text_that_only_resembles_a_role_token(answer: str) -> None:
    assert role_token(answer) is None


# ---- empty prompts


def test_an_empty_prompt() -> None:
    (finding,) = findings([pair(" ", "Plum.")], "empty-prompt")
    assert (finding.severity, finding.field, finding.message) == ("warning", "prompt", "the user's turn is empty")
    assert findings([pair("?", "Plum.")], "empty-prompt") == []


# ---- length


class WordTokenizer:
    """A token a word; with a chat template, two more a turn."""

    bos_token, eos_token = "<bos>", None

    def __init__(self, chat_template: str | None = None) -> None:
        self.chat_template = chat_template
        self.words: list[str] = []

    def __call__(self, text: str, add_special_tokens: bool, verbose: bool) -> dict[str, list[int]]:
        assert not add_special_tokens
        start = len(self.words)
        self.words += text.split()
        return {"input_ids": list(range(start, len(self.words)))}

    def decode(self, ids: list[int]) -> str:
        return " ".join(self.words[place] for place in ids)

    def apply_chat_template(self, turns: list[dict[str, str]], tokenize: bool) -> str:
        return " ".join(f"<turn> {turn['content']} <end>" for turn in turns)


def numbered(count: int) -> str:
    return " ".join(f"word{number}" for number in range(count))


def test_an_over_long_example_by_estimate() -> None:
    # Prompt ceil(10 / 4) + 4 = 7; answer 4000 / 4 + 4 = 1004; together 1011, that is 11 over the limit of 1000.
    record = pair("Say it all", "abcdefgh" * 500)
    (finding,) = findings([record], "over-long", max_tokens=1000)
    assert finding.message == (
        "about 1,011 tokens (4 characters a token), limit 1,000: the last 11 would be cut, "
        "from “efghabcdefghabcdefghabcdefgh” on"
    )
    assert findings([record], "over-long", max_tokens=1011) == []


def test_an_over_long_example_by_tokenizer() -> None:
    # 3 + 4 and 50 + 4 tokens make 61; the limit of 52 cuts 9: the 4 of the marker and the last 5 words.
    (finding,) = findings([pair("say it all", numbered(50))], "over-long", tokenizer=WordTokenizer(), max_tokens=52)
    assert (
        finding.message == "61 tokens, limit 52: the last 9 would be cut, from “word45 word46 word47 word48 word49” on"
    )
    assert (finding.severity, finding.field) == ("warning", "completion")


def test_an_over_long_example_counts_the_chat_template_exactly() -> None:
    # 3 + 2 and 50 + 2 tokens make 57.
    tokenizer = WordTokenizer("a template")
    (finding,) = findings([pair("say it all", numbered(50))], "over-long", tokenizer=tokenizer, max_tokens=56)
    assert finding.message == "57 tokens, limit 56: the last 1 would be cut, from the end of this turn on"
    assert findings([pair("say it all", numbered(50))], "over-long", tokenizer=tokenizer, max_tokens=57) == []


def test_a_cut_that_starts_in_the_prompt_names_the_prompt() -> None:
    (finding,) = findings([pair(numbered(50), "yes")], "over-long", tokenizer=WordTokenizer(), max_tokens=40)
    # 54 + 5 tokens, 19 cut: 5 of the answer, 4 of the marker, 10 words of the prompt.
    assert finding.field == "prompt"
    assert finding.message.startswith("59 tokens, limit 40: the last 19 would be cut, from “word40 word41")


def test_a_control_token_of_the_model_is_an_error_in_any_turn() -> None:
    record = pair("What does <bos> mean?", "It starts a text.")
    (finding,) = findings([record], "role-token", tokenizer=WordTokenizer())
    assert (finding.severity, finding.field) == ("error", "prompt")
    assert finding.message == "holds '<bos>', a control token of this model, which training refuses; remove it"
    assert findings([record], "role-token") == []


def test_a_length_outlier() -> None:
    records = [*varied(30), pair("Tell me everything.", "So it goes on and on. " * 200)]
    (finding,) = findings(records, "length-outlier")
    assert (finding.line, finding.field) == (31, "completion")
    assert finding.message.startswith("the answer has 4,400 characters; the median answer has ")
    assert findings(varied(30), "length-outlier") == []
    assert findings([*varied(10), records[-1]], "length-outlier") == []  # too few records to tell


def test_length_outliers_by_hand() -> None:
    # 20 answers of 100 characters and one of 150: ln 1.5 = .405, the spread counts as .1 at least: z = 4.05.
    records = [pair(f"Q{number}", "a" * 99 + ".") for number in range(20)]
    (finding,) = findings([*records, pair("Q", "a" * 149 + ".")], "length-outlier")
    assert finding.message == "the answer has 150 characters; the median answer has 100 (robust z = +4.1)"
    assert findings([*records, pair("Q", "a" * 147 + ".")], "length-outlier") == []  # ln 1.48 = .392


# ---- language

GERMAN = pair(
    "Wie reinige ich die Pfanne?", "Die Pfanne zuerst einweichen und danach mit einer weichen Bürste reinigen."
)


def test_a_language_outlier() -> None:
    (finding,) = findings([*varied(29), GERMAN], "language-outlier")
    assert (finding.severity, finding.line, finding.field) == ("warning", 30, "completion")
    assert finding.message.startswith("the answer seems to be in 'de', the language of 1 in ")
    assert finding.message.endswith(" answers, where most are 'en'")


def test_a_translation_is_no_language_outlier() -> None:
    asked = pair("Translate: soak the pan, then clean it with a soft brush.", GERMAN["completion"])
    named = pair("How would you say it in German: soak the pan, then clean it.", GERMAN["completion"])
    assert findings([*varied(45), asked, named], "language-outlier") == []


def test_languages_are_not_judged_in_small_or_evenly_mixed_files() -> None:
    assert findings([*varied(15), GERMAN], "language-outlier") == []
    assert findings([*varied(20), *[{**GERMAN, "prompt": f"Frage {at}"} for at in range(5)]], "language-outlier") == []


def test_code_and_short_answers_have_no_language() -> None:
    code = pair("Show it.", "```\nfür jede Zahl schreibe die Zahl und dann die nächste Zahl auf das Papier\n```")
    assert findings([*varied(29), code, pair("Say no.", "Nein danke.")], "language-outlier") == []


def test_languages_are_told_for_a_sample_of_a_large_file() -> None:
    records = [pair(f"Q{number}", f"A{number}") for number in range(2001)]
    (note,) = findings(records, "language-sample")
    assert (note.severity, note.message) == ("note", "languages were told for 2,000 of 2,001 answers, evenly spread")
    assert findings(records[:2000], "language-sample") == []


# ---- hostile input


HOSTILE = ["a", "1", "1 ", "a.", "a@", "a@b.", "(", "<|", "`", "1-", "+1 ", "0 ", "A1", "DE89 ", "[INST", "\n#", "a%"]


@pytest.mark.parametrize("unit", [*HOSTILE, ".1", "1.1.", "```\n", "a@b.cc ", "+46 8 123 456 78 ", "\nUser:"])
def test_long_hostile_answers_take_linear_time(unit: str) -> None:
    record = pair("Go.", unit * (200_000 // len(unit)) + "!")
    start = time.process_time()
    check_file([record], sealed=SEALED)
    assert time.process_time() - start < 5
