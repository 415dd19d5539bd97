"""Methods, options and checks in plain words, for people who have never trained anything.

A method or an option that is not here is told about in its own words (`summary`, the attribute's docstring).
Leaves out: what an option may be (`forms`).
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Group(NamedTuple):
    """Methods that learn from the same thing."""

    name: str
    title: str
    text: str


GROUPS = (
    Group("examples", "Teach by examples", "People wrote good answers; the model learns to answer as they did."),
    Group("comparisons", "Learn from comparisons", "People said which answer is better; the model learns their taste."),
    Group("practice", "Practise against a reward", "The model answers, is scored, and does more of what scores well."),
    Group("teacher", "Learn from a stronger model", "A better model shows, word by word, how it would have gone on."),
)  # fmt: skip

OF_DATA = {"pairs": "examples", "comparisons": "comparisons", "ratings": "comparisons", "rewards": "practice"}
"""The group of a method by what it learns from; what learns from a teacher is the last."""

METHODS = {
    "sft": "Shows the model good answers until it writes such answers itself. Start here.",
    "reward": "Trains a judge: a model that scores answers the way people compared them.",
    "dpo": "Makes the better answer of each comparison more likely and the worse one less. The usual first choice.",
    "kto": "The same from thumbs up and thumbs down on single answers, without pairs.",
    "apo-down": "For a model that is already better than both answers: makes both less likely, the worse one more so.",
    "apo-zero": "For a model that is weaker than the better answer: draws it there and away from the other.",
    "cdpo": "As DPO, for comparisons of which some are wrong: never trusts one of them wholly.",
    "cpo": "As DPO with half the memory: no copy of the old model is kept beside.",
    "discopop": "As DPO with a loss that a computer search found.",
    "dpop": "As DPO, and the better answer may never become less likely.",
    "exo": "As DPO, and settles on the best answers instead of spreading over all good ones.",
    "hinge": "As DPO, and leaves alone what is clearly won already.",
    "ipo": "As DPO, and stops pushing once the better answer leads by enough: calmer with few comparisons.",
    "nca": "As DPO, and keeps the better answers likely in themselves, not only against the worse ones.",
    "orpo": "Examples and comparisons in one go, without a copy of the old model.",
    "r-dpo": "As DPO, without learning that longer is better.",
    "robust-dpo": "As DPO, when you know what share of the comparisons is wrong.",
    "simpo": "As DPO without a copy of the old model; compares answers per word, so length does not win.",
    "sppo": "As DPO, aiming at a fixed lead of the better answer.",
    "ppo": "The classic: practises against a reward with a second model that foresees the score. Strong, needs memory.",
    "grpo": "Answers each prompt several times and learns from which of its own answers did better. Simple and sturdy.",
    "rloo": "As GRPO, measuring each answer against the mean of its siblings.",
    "dapo": "As GRPO, skipping prompts where all answers score alike: for long thinking.",
    "dr-grpo": "As GRPO without its leaning towards long answers.",
    "cispo": "As GRPO, and rare but important words keep their say.",
    "gspo": "As GRPO, weighing whole answers instead of words: steadier for long answers.",
    "online-dpo": "Answers each prompt by itself, lets the reward pick the better answer, and learns as DPO does.",
    "reinforce++": "Practises against a reward without a second model and without groups.",
    "rejection": "Answers several times, keeps the best answer, and learns it as an example.",
    "distill": "Answers by itself and is corrected towards a stronger model at every word.",
}

LABELS = {
    "model": ("Model to start from", "base model"),
    "out": ("Name of the new model", "run"),
    "data": ("What to learn from", "dataset"),
    "prompts": ("Prompts to practise on", "prompts"),
    "reward": ("What is good", "reward"),
    "teacher": ("Stronger model to learn from", "teacher"),
    "epochs": ("How often to go through everything", "epochs"),
    "max_steps": ("Stop after", "steps"),
    "batch_size": ("Looked at before each correction", "batch size"),
    "prompts_per_step": ("Prompts answered before each correction", "prompts per step"),
    "group_size": ("Answers to each prompt", "group size"),
    "learning_rate": ("Size of each correction", "learning rate"),
    "max_new_tokens": ("Longest answer", "tokens"),
    "val_frac": ("Held back to check with", "validation share"),
    "lora.rank": ("Change only a small part of the model", "LoRA rank"),
    "kl_coef": ("How firmly it is held to what it was", "KL coefficient"),
    "beta": ("How firmly it is held to what it was", "beta"),
    "seed": ("Start of the dice", "seed"),
}
"""Options in plain words, with the field's own term."""

SPELT = {
    "kl": "KL", "vf": "value function", "ptx": "pretraining", "coef": "weight", "frac": "share", "lam": "lambda",
    "adam": "Adam", "eps": "epsilon", "num": "number of", "val": "validation", "min": "smallest", "max": "largest",
    "ref": "reference", "lora": "LoRA", "grad": "gradient",
}  # fmt: skip
"""Parts of the names of other options."""

HELP = {
    "model": "A starter model that comes with Tutelage, or one that was trained here.",
    "data": "starter (pairs that come with Tutelage), a dataset of reviewed pairs such as curated@3, or what people "
    "judged: labels:PROJECT.",
    "prompts": "compare (prompts that come with Tutelage), starter, or a dataset. A check on right answers needs "
    "prompts that have one.",
    "teacher": "A better model of the same family: both must have the same tokens.",
    "out": "The model and its run get this name. Letters, digits, dots, dashes.",
    "epochs": "More often learns more, and in the end by heart.",
    "max_steps": "0 goes on to the end of the last pass. A small number is good for a first try.",
    "batch_size": "More is steadier, and slower for each correction.",
    "prompts_per_step": "More is steadier, and slower for each correction.",
    "group_size": "They are compared with each other.",
    "kl_coef": "Higher stays closer to the model it started as; 0 lets it go anywhere the reward leads.",
    "ref_model": "The model that it is held to; the one it starts from if nothing is chosen.",
    "critic": "The model that foresees the score begins as this one; as the reward model if nothing is chosen.",
    "val_data": "A dataset to check with after each pass.",
    "ptx_data": "A dataset that is learned beside the rewards, so that nothing is forgotten; starter or one of yours.",
    "lora.rank": "0 changes all of it. 8 to 64 trains a small addition instead: less memory, a little less change.",
    "val_frac": "0.1 holds one record in ten back and shows how well the model does on them.",
    "learning_rate": "Too small learns nothing, too large forgets what the model knew.",
}

BASIC = (
    "model", "data", "prompts", "reward", "teacher", "out", "epochs", "max_steps", "batch_size", "prompts_per_step",
    "group_size", "max_new_tokens", "learning_rate", "kl_coef", "beta", "val_frac", "lora.rank",
)  # fmt: skip
"""Options that are shown at once, in this order; the others stand under "More options"."""


class Check(NamedTuple):
    """A reward that needs no model."""

    name: str
    text: str
    argument: str
    """What follows the colon, in plain words; empty where nothing does."""


CHECKS = (
    Check("math", "the final number is right (prompts need an answer)", ""),
    Check("exact", "the same text as the prompt's answer", ""),
    Check("length", "about as long as wanted", "tokens, e.g. 120"),
    Check("format", "has a certain form", "bullets, boxed, json, think-answer or no-role-tokens"),
    Check("instructions", "follows the prompt's own instructions", ""),
    Check("overlong", "takes points off what runs on too long", "longest:buffer, e.g. 256:64"),
    Check("regex", "contains a pattern", "a regular expression, e.g. ^Dear"),
)
"""Rewards that read no file and run no code of anybody's."""


def group_of(method: Any) -> str:
    """The group that a method stands in."""
    return OF_DATA.get(getattr(method, "learns_from", ""), "teacher")


def plain(name: str, method: Any) -> str:
    """One line on a method."""
    return METHODS.get(name, str(method.summary))
