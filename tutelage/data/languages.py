"""Answers in a language that is rare in their file, found with py3langid (a fork of langid.py, Lui and Baldwin 2012).

Leaves out: files without a main language, and texts too short to tell.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from tutelage.data.formats import Parsed
from tutelage.data.report import Finding, finding_at

MIN_RECORDS = 20
MIN_LETTERS = 40
MAX_RECORDS = 2000
MAX_RARE_FRAC = 0.05
MIN_MAIN_FRAC = 0.5
MIN_PROBABILITY = 0.8
MAX_CHARACTERS = 1000  # enough to tell a language, and long answers cost no more than short ones

_code = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)
_asks_for_language = re.compile(
    r"translat|übersetz|tradu|перевед|перевод|翻译|翻訳|번역|ترجم|"
    r"\b(?:english|french|german|spanish|italian|portuguese|dutch|swedish|norwegian|danish|finnish|polish|czech|"
    r"hungarian|romanian|greek|turkish|russian|ukrainian|arabic|hebrew|persian|hindi|bengali|urdu|tamil|chinese|"
    r"mandarin|cantonese|japanese|korean|vietnamese|thai|indonesian|malay|swahili|latin|welsh|irish|gaelic|"
    r"catalan|basque|icelandic|esperanto|englisch|deutsch|französisch|spanisch|français|anglais|espagnol|inglés|"
    r"español|francés|language)\b",
    re.IGNORECASE,
)


def find_languages(records: Sequence[Parsed]) -> Iterator[Finding]:
    """`language-outlier`: an answer in a language of under 5 % of the file, unless the prompt speaks of languages."""
    if len(records) < MIN_RECORDS:
        return
    sample = records
    if len(records) > MAX_RECORDS:
        sample = [records[place * len(records) // MAX_RECORDS] for place in range(MAX_RECORDS)]
        message = f"languages were told for {MAX_RECORDS:,} of {len(records):,} answers, evenly spread"
        yield Finding("note", "language-sample", None, None, message)
    identify = _identifier()
    told = [(parsed, language) for parsed in sample if (language := _language(parsed, identify))]
    counts = Counter(language for _, language in told)
    if not told or counts.most_common(1)[0][1] < MIN_MAIN_FRAC * len(told):
        return
    main = counts.most_common(1)[0][0]
    for parsed, language in told:
        if counts[language] < MAX_RARE_FRAC * len(told) and not _asks_for_language.search(_asked(parsed)):
            share = f"the language of {counts[language]} in {len(told):,} answers, where most are '{main}'"
            turn = len(parsed.conversation.messages) - 1
            yield finding_at(parsed, "language-outlier", f"the answer seems to be in '{language}', {share}", turn=turn)


def _identifier() -> Callable[[str], tuple[str, float]]:
    from py3langid import langid

    model = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
    return model.classify


def _language(parsed: Parsed, identify: Callable[[str], tuple[str, float]]) -> str | None:
    """The language of the last answer, where it is long enough to be sure of."""
    text = _code.sub(" ", parsed.conversation.messages[-1].content)[:MAX_CHARACTERS]
    if sum(char.isalpha() for char in text) < MIN_LETTERS:
        return None
    language, probability = identify(text)
    return language if probability >= MIN_PROBABILITY else None


def _asked(parsed: Parsed) -> str:
    return "\n".join(message.content for message in parsed.conversation.messages[:-1])
