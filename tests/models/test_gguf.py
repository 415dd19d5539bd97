"""GGUF to Hugging Face: the same weights, the same config, the same tokens."""

from __future__ import annotations

import pytest
import torch
from gguf import GGUFWriter
from tiny_gguf import GEMMA_TOKENS, tiny_gemma, tiny_smollm, write_gguf
from transformers import AutoModelForCausalLM

from tutelage.errors import ModelError
from tutelage.models.gguf import GgufFile, fast_tokenizer, model_config, model_weights


@pytest.mark.parametrize("make", [tiny_gemma, tiny_smollm])
def test_weights_come_back_exactly(tmp_path, make):
    model = make()
    weights = model_weights(GgufFile(write_gguf(tmp_path / "model.gguf", model)))
    expected = dict(model.named_parameters())
    assert set(weights) == set(expected)
    for name, tensor in weights.items():
        assert tensor.dtype == torch.bfloat16
        assert torch.equal(tensor.float(), expected[name]), name


@pytest.mark.parametrize("make", [tiny_gemma, tiny_smollm])
def test_the_converted_model_gives_the_same_logits(tmp_path, make):
    model = make()
    gguf = GgufFile(write_gguf(tmp_path / "model.gguf", model))
    again = AutoModelForCausalLM.from_config(model_config(gguf), dtype=torch.float32, attn_implementation="sdpa").eval()
    again.load_state_dict(model_weights(gguf), strict=False)
    ids = torch.arange(30, 60)[None]  # longer than the sliding window of 8
    torch.testing.assert_close(again(ids).logits, model(ids).logits, rtol=0, atol=1e-5)


def test_quantised_weights_are_unpacked(tmp_path):
    model = tiny_smollm()
    weights = model_weights(GgufFile(write_gguf(tmp_path / "model.gguf", model, quantised=True)))
    name = "model.layers.0.mlp.up_proj.weight"
    original = dict(model.named_parameters())[name]
    # Q8_0 holds 255 levels between ±the largest of 32 neighbours, bf16 then 8 bits: within 1 % of the largest.
    error = (weights[name].float() - original).abs().max()
    assert 0 < error < 0.01 * original.abs().max()


def test_gemmas_merges_follow_the_order_of_the_vocabulary(tmp_path):
    tokenizer = fast_tokenizer(GgufFile(write_gguf(tmp_path / "model.gguf", tiny_gemma())))

    def tokens(text: str) -> list[str]:
        return list(tokenizer.encode(text, add_special_tokens=False).tokens)

    assert tokens("the pan") == ["the", "▁", "pan"]
    assert tokens("pan the") == ["pan", "▁the"]  # "th" and "the" come before "▁the"
    assert tokens("than") == ["th", "an"]
    assert tokens("the  the") == ["the", "▁▁", "the"]
    assert tokens("a\n\nb") == ["a", "\n\n", "b"]
    assert tokens("é") == ["<0xC3>", "<0xA9>"]
    assert tokens("<start_of_turn>user\n") == ["<start_of_turn>", "u", "s", "e", "r", "\n"]
    assert tokenizer.encode("the").tokens == ["<bos>", "the"]
    assert [tokenizer.id_to_token(index) for index in (0, 5, 8)] == ["<pad>", "<end_of_turn>", "▁▁"]
    assert tokenizer.get_vocab_size() == len(GEMMA_TOKENS)


def test_smollm_splits_digits_one_by_one(tmp_path):
    tokenizer = fast_tokenizer(GgufFile(write_gguf(tmp_path / "model.gguf", tiny_smollm())))
    assert tokenizer.encode("2024").tokens == ["2", "0", "2", "4"]
    assert tokenizer.encode("<|im_start|>user").tokens[0] == "<|im_start|>"


@pytest.mark.parametrize("make", [tiny_gemma, tiny_smollm])
@pytest.mark.parametrize("text", ["How do you clean a  dirty pan?", "  é 你好 😀\n\n\tx", "12345.67", ""])
def test_text_comes_back(tmp_path, make, text):
    tokenizer = fast_tokenizer(GgufFile(write_gguf(tmp_path / "model.gguf", make())))
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids, skip_special_tokens=False) == text


def test_an_unknown_architecture_is_one_line(tmp_path):
    writer = GGUFWriter(tmp_path / "model.gguf", "mamba")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ModelError) as error:
        GgufFile(tmp_path / "model.gguf")
    assert str(error.value) == "model.gguf: GGUF architecture 'mamba' cannot be converted; known: gemma3, llama"
