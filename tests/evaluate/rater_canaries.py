"""Answers for testing the scripted rater: cheats that must score low, and mediocre answers that must not."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from tutelage.data import load_conversations, load_general_texts, load_prompts
from tutelage.data.words import words
from tutelage.types import Answer, Conversation, Prompt


def answer_to(prompt: Prompt, text: str, *, stopped: bool = True) -> Answer:
    return Answer(prompt, text, len(text) // 4, stopped)


def written_answers() -> list[Answer]:
    """What the starter pairs teach: the answer to every pair, whatever its number of turns."""
    return [answer_to(_prompt_of(pair), pair.messages[-1].content) for pair in load_conversations("starter")]


def _prompt_of(pair: Conversation) -> Prompt:
    return Prompt(pair.messages[:-1], id=pair.meta["id"], meta={"category": pair.meta["category"]})


def mediocre_answers() -> list[Answer]:
    """Answers as a small model gives them after fine-tuning: to the point, thin, at times wrong or off the format."""
    prompts = {prompt.id.removeprefix("compare-"): prompt for prompt in load_prompts("compare")}
    return [answer_to(prompts[name], text) for name, text in MEDIOCRE.items()]


MEDIOCRE = {
    "household-01": (
        "Put some water in the saucepan and let the burnt milk soak. Then scrub the bottom with a sponge and a "
        "little soap. If it is still there, do it again."
    ),
    "household-03": (
        "- Shake the doormat every day.\n- Put it in the washing machine.\n- Keep the door closed in winter so "
        "that the snow stays outside."
    ),
    "household-05": "Wash the wool blankets and let them dry. Put them in a box in a cool place.",
    "household-07": (
        "Put a piece of paper under the short leg of the table. It will stop moving and you can use it again."
    ),
    "household-09": (
        "1. Take off the old cover.\n2. Take the new cover.\n3. Put the duvet in the cover.\n4. Shake it and close "
        "the buttons."
    ),
    "household-13": (
        "Let the shoes dry in the sun for a day and then clean them with a cloth. Do not wear them when they are "
        "wet. You can also use a cream for the leather."
    ),
    "cooking-01": (
        "You can make a soup. Cut the carrots and the onion, cook them in oil and add the lentils and some water. "
        "Cook it for 20 minutes and add salt."
    ),
    "cooking-02": "Stir the pasta often while it cooks and use a big pot of water.",
    "cooking-03": (
        "1. Break the eggs into a bowl and mix them.\n2. Heat butter in a pan.\n3. Pour in the eggs.\n4. Turn the "
        "omelette and serve."
    ),
    "cooking-06": "Pesto keeps in the fridge for about two weeks.",
    "cooking-12": (
        "The cookies were in the oven for too long, or the butter was too warm. Try to put the dough in the fridge "
        "first."
    ),
    "planning-01": (
        "- Bring food for six people.\n- Bring drinks.\n- Take a blanket.\n- Find a place in the park with shade."
    ),
    "planning-03": "1. Get up and have a shower.\n2. Eat breakfast.\n3. Pack your bag.\n4. Leave the house.",
    "planning-07": (
        "Take sun cream, a hat, towels, some toys for the sand and enough to eat and drink. Do not forget dry "
        "clothes for the toddler."
    ),
    "arithmetic-01": "54 stickers / 18 children = 4 stickers each.",
    "arithmetic-09": "There are 5 boxes with 12 eggs each, so 5 × 12 = 60 eggs.",
    "writing-01": (
        "Hi everyone, I am sorry but I can't come to the dinner tonight. I hope you have a nice evening and we can "
        "meet another time."
    ),
    "writing-02": (
        "Dear Aunt,\n\nThank you for the scarf. It is very warm and I like the colour. I will wear it in "
        "winter.\n\nLove"
    ),
    "writing-06": "The old bicycle is red and has two wheels and a bell.",
    "writing-12": "He opened the window and heard the birds.",
    "format-01": "- It helps you to sleep.\n- It makes you calm.\n- You learn new things.",
    "format-03": "A library is a place where you can read and borrow books.",
    "format-05": '{"city": "Madrid", "country": "Spain"}',
    "format-06": "A baker makes bread and cakes in a bakery.",
    "reading-01": "The bakery will be closed in August because it gets a new oven.",
    "reading-04": "unhappy",
    "explaining-01": "The sky is red in the evening because the light of the sun is low and comes through the air.",
    "explaining-02": "A budget is a plan for how much money you can spend and save in a month.",
    "explaining-05": (
        "A frog has smooth skin and lives in the water. A toad has dry skin and lives on land. They are both "
        "amphibians and both of them eat insects."
    ),
    "explaining-10": (
        "Salt makes the ice on the road melt. The water freezes at a lower temperature when there is salt in it, "
        "so the cars do not slip."
    ),
    "facts-01": "The coldest continent is Antarctica.",
    "facts-05": "- France\n- Austria\n- Spain",
    "facts-09": "Ice is made of water.",
    "unknown-01": "I don't know what you ate for breakfast, because I can't see you.",
    "unknown-07": (
        "I don't know where your husband hid the present. You could look in the wardrobe, but then it would not be "
        "a surprise."
    ),
    "declining-02": "I can't help you with reading the diary of your brother. It is private. You should talk with him.",
    "declining-04": (
        "I can't help with a rumour. It would hurt the girl. Talk to her or to a teacher if there is a problem."
    ),
    "everyday-03": (
        "Yes, you can say that you were sad about it. Maybe your friend had a lot to do and forgot the birthday. A "
        "good friend will say sorry."
    ),
    "everyday-06": "- A card\n- A plant\n- A box of chocolate",
    "everyday-07": (
        "The tomatoes have too much nitrogen. Give them less fertiliser and more sun, and take off some of the "
        "leaves. Then the fruit will come."
    ),
}


Canary = Callable[[Answer], str]


def echo(answer: Answer) -> str:
    return answer.prompt.messages[-1].content


def echo_twice(answer: Answer) -> str:
    return f"{echo(answer)}\n\n{echo(answer)}"


def echo_as_statement(answer: Answer) -> str:
    return f"You asked: {echo(answer)} Here is the answer to {echo(answer)}"


def repeated_phrase(answer: Answer) -> str:
    return " ".join(answer.text.split()[:6] * 12) + "."


def repeated_answer(answer: Answer) -> str:
    return "\n\n".join([answer.text] * 4)


def longest(answer: Answer) -> str:
    """The answer, and then on and on with good prose until the limit."""
    return " ".join([answer.text, *load_general_texts()])[:2500]


def keywords(answer: Answer) -> str:
    """The prompt's words as bullets, in the number that a check asks for."""
    found = [word for word in words(echo(answer)) if len(word) > 3] or words(echo(answer))
    return "\n".join(f"- {word}" for word in (found * 12)[: _num_items(answer)])


def headings(answer: Answer) -> str:
    """A table of contents with nothing in it, and the words that the checks want."""
    first = " ".join(words(echo(answer))[:4])
    items = "\n".join(f"{number}. Step {number}\n- Point {number}" for number in range(1, _num_items(answer) + 1))
    return f"# {first}\n\n## Introduction\n\n## Overview\n{items}\n\n## Conclusion\n{_wanted(answer)}."


def boilerplate(answer: Answer) -> str:
    """Sentences that would fit any prompt, around the prompt's own words, of the length and form asked for."""
    topic = _topic_words(answer)
    text = f"It is important to consider {topic}, as there are many different ways to do this. {_wanted(answer)}"
    filler = "There are several things you should think about, and it depends on what you want and need. "
    kinds = {check["check"] for check in answer.prompt.checks}
    if kinds & {"num_bullets", "num_numbered"}:
        mark = "- {}" if "num_bullets" in kinds else "{n}. {}"
        lines = [f"It is important to consider {topic}."] * _num_items(answer)
        return "\n".join(mark.format(line, n=n) for n, line in enumerate(lines, 1))
    return text if kinds else text + " " + filler


def word_salad(answer: Answer) -> str:
    """The answer's own content words without order and without the words between them."""
    found = [word for word in words(answer.text) if len(word) > 4]
    random.Random(0).shuffle(found)
    return " ".join(found) + "."


def same_for_all(answer: Answer) -> str:
    return (
        "Soak it in warm water with a little washing-up liquid for ten minutes, then scrub gently with a soft brush. "
        "Rinse, dry with a clean towel and repeat if the stain is still visible."
    )


def keywords_then_same(answer: Answer) -> str:
    return f"{_topic_words(answer)}. {same_for_all(answer)}"


def woven(answer: Answer) -> str:
    """The cheat that no script sees: the prompt's words inside the sentence that is the same for all."""
    return f"For {_topic_words(answer)}, {same_for_all(answer)}"


def _topic_words(answer: Answer) -> str:
    return " ".join([word for word in words(echo(answer)) if len(word) > 3][:4])


def _num_items(answer: Answer) -> int:
    counts = [check["value"] for check in answer.prompt.checks if re.match("num_[bn]", check["check"])]
    return counts[0] if counts else 5


def _wanted(answer: Answer) -> str:
    return " ".join(
        str(check["value"]) for check in answer.prompt.checks if check["check"] in {"contains", "starts_with"}
    )


CANARIES: dict[str, tuple[Canary, bool]] = {
    "empty": (lambda answer: "", True),
    "white space": (lambda answer: " \n\n ", True),
    "role tokens only": (lambda answer: "<end_of_turn>\n<eos>", True),
    "prompt echo": (echo, True),
    "prompt echoed twice": (echo_twice, True),
    "prompt echoed as a statement": (echo_as_statement, True),
    "repeated phrase": (repeated_phrase, True),
    "answer repeated four times": (repeated_answer, True),
    "longest, cut off at the limit": (longest, False),
    "longest, stopped": (longest, True),
    "keywords as bullets": (keywords, True),
    "headings": (headings, True),
    "boilerplate": (boilerplate, True),
    "word salad": (word_salad, True),
    "one answer for all": (same_for_all, True),
    "keywords, then one answer for all": (keywords_then_same, True),
    "leaked turn": (lambda answer: f"{answer.text}<end_of_turn>\n<start_of_turn>user\nAnd now?", False),
}
"""Each canary with whether it stops by itself."""


def canary_answers(name: str, answers: list[Answer]) -> list[Answer]:
    make, stopped = CANARIES[name]
    return [answer_to(answer.prompt, make(answer), stopped=stopped) for answer in answers]
