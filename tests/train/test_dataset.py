"""Records to trees: long ones, the validation split, the order of steps, and what is said about each."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny_model, tiny_tokenizer

from tutelage.data.load import load_conversations
from tutelage.data.render import render_conversation
from tutelage.engine.tree import Tokens, Tree
from tutelage.errors import DataError
from tutelage.methods.sft import SFT
from tutelage.models.template import end_of_turn_id, ensure_chat_template
from tutelage.train.config import TrainConfig
from tutelage.train.dataset import Dataset, Limit, StepPlan, _fingerprint, make_dataset, token_limit

CONFIG = TrainConfig(model="m", data="d", out="o")
PAIRS = [{"prompt": f"What is {number}?", "completion": "dry " * number + "."} for number in range(1, 11)]
# Keeps only the last answer's text and hides the ones before, as templates do that drop earlier thoughts.
FORGETFUL = """{{- bos_token -}}{%- for m in messages -%}
{%- if m.role == 'user' -%}Q:{{ m.content }}{%- elif loop.last -%}A:{{ m.content }}</s>{%- else -%}A:…</s>{%- endif -%}
{%- endfor -%}{%- if add_generation_prompt -%}A:{%- endif -%}"""


def tokenizer() -> Any:
    made = tiny_tokenizer("llama")
    ensure_chat_template(made)
    return made


def length(record: dict[str, Any]) -> int:
    """Tokens of a record, counted by the renderer itself."""
    made = tokenizer()
    return sum(
        len(rendered.ids)
        for conversation in load_conversations([record])
        for rendered in render_conversation(made, conversation, end_of_turn_id(made))
    )


def build(records: Any, limit: int = 512, tokenizer: Any = tokenizer, **options: Any) -> tuple[Dataset, list[str]]:
    """The dataset of some records, and what was said about it."""
    said: list[str] = []
    config = dataclasses.replace(CONFIG, **options)
    conversations = load_conversations(records)
    allowed = Limit(limit, "raise --max-tokens, shorten it")
    return make_dataset(config, SFT(), tokenizer(), allowed, conversations, said.append), said


# Trees


def test_one_tree_a_conversation_and_everything_after_the_first_answer_is_its_branch() -> None:
    turns = [("user", "Is it dry?"), ("assistant", "Yes."), ("user", "And cold?"), ("assistant", "No.")]
    record = {"messages": [{"role": role, "content": content} for role, content in turns]}
    made, said = build([record])
    ((tree,),) = made.train
    (branch,) = tree.branches
    coder = tokenizer()
    assert coder.decode(tree.trunk.ids) == "<s>User:\nIs it dry?\n\nAssistant:\n"
    assert not any(tree.trunk.mask)
    trained = [token for token, flag in zip(branch.ids, branch.mask, strict=True) if flag]
    assert coder.decode(trained) == "Yes.</s>No.</s>"
    assert said == []


def test_a_template_that_rewrites_earlier_turns_gives_a_tree_a_turn() -> None:
    def forgetful() -> Any:
        made = tiny_tokenizer("llama")
        made.chat_template = FORGETFUL
        return made

    turns = [("user", "Dry?"), ("assistant", "Yes."), ("user", "Cold?"), ("assistant", "No, and it rains.")]
    record = {"messages": [{"role": role, "content": content} for role, content in turns]}
    made, _ = build([record], tokenizer=forgetful)
    (item,) = made.train
    coder = forgetful()
    assert [coder.decode((tree.trunk + tree.branches[0]).ids) for tree in item] == [
        "<s>Q:Dry?A:Yes.</s>",
        "<s>Q:Dry?A:…</s>Q:Cold?A:No, and it rains.</s>",
    ]
    # Of a conversation whose last turn has no room, the earlier one is still learned from.
    first = item[0].num_tokens
    cut, said = build([record], first, tokenizer=forgetful, too_long="cut")
    assert [tree.num_tokens for tree in cut.train[0]] == [first]
    assert said == [f"1 of 1 records are longer than {first} tokens and were cut"]


# Long records


def test_a_long_record_is_an_error_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "pairs.csv"
    file.write_text("prompt,completion\nWhat is it?,Dry.\nWhat is it?,Cold and dry and wet.\n")
    num_tokens = length({"prompt": "What is it?", "completion": "Cold and dry and wet."})
    with pytest.raises(DataError) as caught:
        build(file, num_tokens - 1)
    assert str(caught.value) == (
        f"{file}:3: has {num_tokens} tokens and the limit is {num_tokens - 1}; raise --max-tokens, shorten it, or give "
        "--too-long drop or --too-long cut"
    )
    assert build(file, num_tokens)[0].num_left_out == 0


def test_the_limit_is_the_option_or_the_models_context() -> None:
    model = tiny_model("llama", max_position_embeddings=64)
    assert token_limit(dataclasses.replace(CONFIG, max_tokens=63), model) == (63, "raise --max-tokens, shorten it")
    assert token_limit(dataclasses.replace(CONFIG, max_tokens=64), model) == (64, "raise --max-tokens, shorten it")
    context = (64, "that is the model's whole context: shorten it")
    assert token_limit(dataclasses.replace(CONFIG, max_tokens=65), model) == context
    del model.config.max_position_embeddings
    assert token_limit(dataclasses.replace(CONFIG, max_tokens=65), model).num_tokens == 65


def test_long_records_are_dropped() -> None:
    limit = length(PAIRS[3])
    made, said = build(PAIRS, limit, too_long="drop")
    assert made.places == ["records:1", "records:2", "records:3", "records:4"]
    assert made.num_left_out == 6
    assert said == [f"6 of 10 records are longer than {limit} tokens and were left out"]


def test_long_records_are_cut_at_the_end() -> None:
    limit = length(PAIRS[3])
    made, said = build(PAIRS, limit, too_long="cut")
    whole, _ = build(PAIRS)
    assert said == [f"6 of 10 records are longer than {limit} tokens and were cut"]
    assert len(made.train) == 10
    for (cut,), (full,) in zip(made.train, whole.train, strict=True):
        assert cut.num_tokens == min(full.num_tokens, limit)
        assert cut.trunk == full.trunk
        assert full.branches[0].ids[: len(cut.branches[0])] == cut.branches[0].ids
        assert cut.branches[0].mask[-1]
    end = end_of_turn_id(tokenizer())
    assert [item[0].branches[0].ids[-1] == end for item in made.train] == [True] * 4 + [False] * 6


LEAKING = {"prompt": "What is it?", "completion": "It is dry.</s>What is it?"}


def test_a_record_that_cannot_be_rendered_is_an_error_or_left_out_and_said() -> None:
    with pytest.raises(DataError, match="holds the control token '</s>'"):
        build([*PAIRS, LEAKING])
    made, said = build([*PAIRS, LEAKING], bad_records="drop")
    assert len(made.train) == len(PAIRS)
    assert len(said) == 1
    assert said[0].startswith("1 of 11 records cannot be rendered; left out; the first: ")
    assert "holds the control token '</s>'" in said[0]
    assert made.train == build(PAIRS)[0].train
    with pytest.raises(DataError, match="nothing is left to train on: 1 of 1 records cannot be rendered"):
        build([LEAKING], bad_records="drop")


def test_a_record_whose_question_alone_is_too_long_cannot_be_cut() -> None:
    short, long = PAIRS[0], {"prompt": "cold and " * 30, "completion": "Yes."}
    limit = length(short)
    made, said = build([short, long], limit, too_long="cut")
    assert made.places == ["records:1"]
    assert said == [f"1 of 2 records are longer than {limit} tokens and were left out"]


@pytest.mark.parametrize("too_long", ["drop", "cut"])
def test_nothing_left(too_long: str) -> None:
    with pytest.raises(DataError) as caught:
        build(PAIRS, 3, too_long=too_long)
    assert str(caught.value) == "nothing is left to train on: all 10 records are longer than 3 tokens"


# Validation


def ids(items: list[list[Tree]]) -> list[tuple[int, ...]]:
    return [(tree.trunk + tree.branches[0]).ids for item in items for tree in item]


def test_the_split_is_disjoint_whole_and_in_the_order_of_the_file() -> None:
    whole = ids(build(PAIRS)[0].train)
    made, _ = build(PAIRS, val_frac=0.3)
    train, val = ids(made.train), ids(made.val)
    assert (len(train), len(val)) == (7, 3)
    assert sorted(train + val) == sorted(whole)
    assert [whole.index(one) for one in train] == sorted(whole.index(one) for one in train)
    assert made.places == [f"records:{whole.index(one) + 1}" for one in train]


def test_the_split_depends_on_the_seed_alone() -> None:
    first, again, other = (build(PAIRS, val_frac=0.3, seed=seed)[0] for seed in (1, 1, 2))
    assert ids(first.val) == ids(again.val)
    assert first.fingerprint == again.fingerprint
    assert ids(first.val) != ids(other.val)
    assert first.fingerprint != other.fingerprint


@pytest.mark.parametrize(("frac", "num_val"), [(0, 0), (0.01, 1), (0.1, 1), (0.25, 2), (0.5, 5), (0.99, 9)])
def test_each_side_has_at_least_one(frac: float, num_val: int) -> None:
    made, _ = build(PAIRS, val_frac=frac)
    assert (len(made.val), len(made.train)) == (num_val, 10 - num_val)


def test_one_record_cannot_be_split() -> None:
    with pytest.raises(DataError) as caught:
        build(PAIRS[:1], val_frac=0.1)
    needed = "--val-frac 0.1 needs at least 2 records and there is 1"
    assert str(caught.value) == f"{needed}; give --val-data, or more records"


def test_a_validation_file(tmp_path: Path) -> None:
    file = tmp_path / "val.csv"
    file.write_text("question,answer\nIs it cold?,Yes.\nIs it dry and cold and wet?,No.\n")
    made, said = build(PAIRS, val_data=str(file), val_frac=0.5)
    assert len(made.train) == 10  # the file wins over the share
    assert tokenizer().decode(ids(made.val)[0]) == "<s>User:\nIs it cold?\n\nAssistant:\nYes.</s>"
    assert said == []


def test_long_records_of_a_validation_file(tmp_path: Path) -> None:
    file = tmp_path / "val.csv"
    file.write_text("question,answer\nIs it cold?,Yes.\nIs it dry and cold and wet?,No.\n")
    limit = length({"prompt": "Is it cold?", "completion": "Yes."})
    pairs = [{"prompt": "a?", "completion": "b"}]
    with pytest.raises(DataError) as caught:
        build(pairs, limit, val_data=str(file))
    assert str(caught.value).startswith(f"{file}:3: has ")
    made, said = build(pairs, limit, val_data=str(file), too_long="drop")
    assert len(made.val) == 1
    assert said == [f"{file}: 1 of 2 records are longer than {limit} tokens and were left out"]
    with pytest.raises(DataError) as caught:
        build(pairs, length(pairs[0]), val_data=str(file), too_long="drop")
    assert str(caught.value) == (
        f"{file}: nothing is left to validate on: all 2 records are longer than {length(pairs[0])} tokens"
    )


# The fingerprint


def test_the_fingerprint_sees_every_id_every_mask_and_every_border() -> None:
    def item(trunk: list[int], branch: list[int]) -> list[Tree]:
        return [Tree(Tokens.prompt(trunk), (Tokens.completion(branch),))]

    a, b = item([1, 2], [3]), item([1], [2])
    variants = [
        [a, b],
        [b, a],
        [a],
        [a, [], b],  # what stands after the gap is for validation
        [[*a, *b]],
        [item([1, 9], [3]), b],
        [item([1], [2, 3]), b],
        [item([1, 2], [3, 4]), b],
        [[Tree(Tokens((1, 2), (False, True)), (Tokens.completion([3]),))], b],
    ]
    assert len({_fingerprint(variant) for variant in variants}) == len(variants)
    assert _fingerprint([a, b]) == _fingerprint([item([1, 2], [3]), item([1], [2])])


# The order


def plan(num_records: int, **options: Any) -> StepPlan:
    return StepPlan(num_records, dataclasses.replace(CONFIG, **options))


@pytest.mark.parametrize(
    ("num_records", "batch_size", "epochs", "max_steps", "num_steps"),
    [(10, 5, 1, 0, 2), (11, 5, 1, 0, 3), (11, 5, 4, 0, 12), (3, 16, 2, 0, 2), (11, 5, 4, 7, 7), (11, 5, 1, 99, 3)],
)
def test_steps_are_epochs_times_batches_rounded_up(
    num_records: int, batch_size: int, epochs: int, max_steps: int, num_steps: int
) -> None:
    made = plan(num_records, batch_size=batch_size, epochs=epochs, max_steps=max_steps)
    assert made.num_steps == num_steps
    assert next(step for step in range(1, 100) if made.ends_epoch(step)) == -(-num_records // batch_size)


@given(num_records=st.integers(1, 50), batch_size=st.integers(1, 20), seed=st.integers(0, 2**63 - 1))
def test_each_epoch_sees_each_record_once(num_records: int, batch_size: int, seed: int) -> None:
    made = plan(num_records, batch_size=batch_size, epochs=2, seed=seed)
    for epoch in range(2):
        first = epoch * made.steps_per_epoch + 1
        steps = [made.records(step) for step in range(first, first + made.steps_per_epoch)]
        assert sorted(index for step in steps for index in step) == list(range(num_records))
        assert all(len(step) == batch_size for step in steps[:-1])
        assert len(steps[-1]) == (num_records - 1) % batch_size + 1


def test_the_order_is_fresh_each_epoch_and_for_each_seed_and_needs_no_memory() -> None:
    made = plan(12, batch_size=4, epochs=3)
    steps = [made.records(step) for step in range(1, 10)]
    assert len({str(steps[start : start + 3]) for start in (0, 3, 6)}) == 3
    assert plan(12, batch_size=4, epochs=3, seed=1).records(1) != steps[0]
    assert [plan(12, batch_size=4, epochs=3).records(step) for step in (9, 1, 5)] == [steps[8], steps[0], steps[4]]
