"""Phrases that name a parent, and those that do not: the words are invented, their kinds are those of real cards."""

import time

import pytest

from atlas_pipeline.components.cards import parse_card
from atlas_pipeline.components.cards.mentions import is_plain_id, masked, model_of_address

LAB = "[Seven](https://huggingface.co/lab/seven-7b)"
OWN = "me/own"

TEXTS = {
    # the words that trainers write
    f"This model is a fine-tuned version of {LAB} on the None dataset.": "finetune",
    "This model is a fine-tuned version of lab/seven-7b on an unknown dataset.": "finetune",
    f"- **Finetuned from model [optional]:** {LAB}": "finetune",
    "- **Finetuned from model :** lab/seven-7b": "finetune",
    f"This is a [sentence-transformers](https://sbert.net) model finetuned from {LAB} on pairs.": "finetune",
    "This pipeline was finetuned from **lab/seven-7b** on the **lab/cats** dataset.": "finetune",
    "These are me/own LoRA adaption weights for lab/seven-7b.": "adapter",
    "An [adapter](https://adapterhub.ml) for the `lab/seven-7b` model that was trained on texts.": "adapter",
    f"This model was converted to GGUF format from {LAB} using llama.cpp.": "quantized",
    f"This model [me/own](https://huggingface.co/me/own) was converted to MLX format from {LAB} using mlx-lm.": None,
    "static quants of https://huggingface.co/lab/seven-7b": "quantized",
    "weighted/imatrix quants of https://huggingface.co/lab/seven-7b.": "quantized",
    f"This repo contains GPTQ model files for {LAB}.": "quantized",
    # the words of people
    f"Fine-tuned {LAB} on Estonian using the [corpus](https://huggingface.co/datasets/lab/corpus-1).": "finetune",
    f"{LAB} fine-tuned on [questions](https://huggingface.co/datasets/lab/questions-2).": "finetune",
    "`lab/seven-7b` finetuned on questions.": "finetune",
    f"A warm-started model ({LAB}) fine-tuned for summaries.": "finetune",
    f"It is based on a pre-trained {LAB} which is fine-tuned on poems.": "finetune",
    f"This is a fine-tune of {LAB}.": "finetune",
    f"Obtained by fine-tuning {LAB} on summaries.": "finetune",
    f"Continued pretraining of {LAB} on laws.": "finetune",
    "It was further pre-trained from lab/seven-7b on laws.": "finetune",
    "Trained on top of lab/seven-7b.": "finetune",
    f"This adapter was fine-tuned from {LAB}.": "adapter",
    "A QLoRA adapter trained on top of `lab/seven-7b`.": "adapter",
    "An experimental 4-bit AWQ quantization of lab/seven-7b.": "quantized",
    f"This 4-bit model is based on {LAB}.": "quantized",
    f"Made by quantizing the weights of {LAB} to FP8.": "quantized",
    f"The model is based on {LAB}.": None,
    f"The encoder was initialized from {LAB}.": None,
    f"We initialise the model with the weights of {LAB}.": None,
    f"Trained on sentences, using {LAB} as the base model.": None,
    f"The base model is {LAB}, which hears 16 kHz.": None,
    f"We used the pretrained {LAB} model.": None,
    f"A pruned version of the {LAB}.": None,
    f"An abliterated (uncensored) version of {LAB}.": None,
    f"A distilled version of {LAB}.": None,
    f"A fork of {LAB}.": None,
    f"Derived from {LAB}.": None,
    # labels
    f"Base model: {LAB}": None,
    f"**Base Model:** {LAB}": None,
    f"Some words first. Base model: {LAB}": None,
    f"| **Base model** | {LAB} |": None,
    f"## Base model\n\n{LAB}": None,
    "Original model: https://huggingface.co/lab/seven-7b/tree/main": None,
    # forms of a link
    'A fine-tuned version of <a href="https://huggingface.co/lab/seven-7b">Seven</a>.': "finetune",
    "A fine-tuned version of [`Seven`][7].\n\n[7]: https://huggingface.co/lab/seven-7b\n": "finetune",
    "A fine-tuned\nversion of\nhf.co/lab/seven-7b.": "finetune",
    "A fine-tuned version of [Seven](<https://www.huggingface.co/lab/seven-7b#usage>).": "finetune",
}

SILENT_TEXTS = (
    # advice, use, other models
    f"You can fine-tune {LAB} on your data.",
    f"To fine-tune this model please check {LAB}.",
    f"For fine-tuning from {LAB}, see the manual.",
    f"Fine-tuning of {LAB} can be done so.",
    f"It outperforms models fine-tuned from {LAB}.",
    f"Unlike fine-tuned versions of {LAB}, it is small.",
    f"Similar to models based on {LAB}.",
    f"See also the model fine-tuned from {LAB}.",
    f"[Other](https://huggingface.co/lab/other-1) is a fine-tuned version of {LAB}.",
    f"We used {LAB} as a teacher model.",
    f"Fine-tuned from something, and distilled from {LAB}.",
    f"## Related models\n\nA fine-tuned version of {LAB}.",
    # negations
    f"This model is not based on {LAB}.",
    f"It isn't a fine-tuned version of {LAB}.",
    # other things than models
    f"The tokenizer is based on {LAB}.",
    f"It is based on the {LAB} tokenizer.",
    f"It uses the tokenizer of {LAB}.",
    f"It is based on the {LAB} architecture.",
    f"Training code based on {LAB}.",
    f"The data was generated with a fine-tuned version of {LAB}.",
    "Fine-tuned on [texts](https://huggingface.co/datasets/lab/texts-1).",
    "Based on [a paper](https://arxiv.org/abs/2106.08254) and [code](https://github.com/lab/seven-7b).",
    "Based on [a demo](https://huggingface.co/spaces/lab/seven-7b).",
    "A fine-tuned version of [Seven](https://huggingface.co/seven), see [the blog](https://huggingface.co/blog/seven-7b).",
    "A fine-tuned version of models/seven-7b and ./out/seven-7 and and/or fp16/bf16.",
    "A fine-tuned version of [](https://huggingface.co/) on the None dataset.",
    # the model itself, and what was made from it
    "A fine-tuned version of [own](https://huggingface.co/me/own).",
    "Me/OWN is a fine-tuned version of [own](https://huggingface.co/Me/OWN).",
    "Quantized versions of this model: [GGUF](https://huggingface.co/lab/own-GGUF)",
    "GGUF version of the model: https://huggingface.co/lab/own-GGUF",
    # built anew
    f"The model is based on the {LAB} model and was pre-trained on proteins.",
    f"The model is based on {LAB}. It was trained from scratch.",
    # code and comments
    f"```\nThis model is a fine-tuned version of {LAB}\n```",
    f"Text.\n\n    This model is a fine-tuned version of {LAB}\n",
    f"<!-- This model is a fine-tuned version of {LAB} -->",
    # a table of models
    f"| Base model | {LAB} | [b](https://huggingface.co/lab/b-1) |",
)


def stated(text, own=OWN):
    return [s for s in parse_card(text, model_id=own).statements if s.source == "card_text"]


@pytest.mark.parametrize(("text", "relation"), TEXTS.items(), ids=list(TEXTS))
def test_a_sentence_that_names_a_parent_is_understood(text, relation):
    (found,) = stated(text)
    assert (found.declared_parent, found.relation, found.role) == ("lab/seven-7b", relation, None)


@pytest.mark.parametrize("text", SILENT_TEXTS)
def test_other_sentences_say_nothing(text):
    assert stated(text) == []


def test_an_original_model_is_what_was_quantised_where_the_name_says_so():
    (found,) = stated(f"Original model: {LAB}", own="me/seven-7b-GGUF")
    assert found.relation == "quantized"


def test_a_merge_names_all_of_its_models():
    found = stated(f"This is a merge of {LAB}, [B](https://huggingface.co/lab/b-7b) and lab/c-7b.")
    assert [(s.declared_parent, s.relation, s.role) for s in found] == [
        ("lab/seven-7b", "merge", "merged"),
        ("lab/b-7b", "merge", "merged"),
        ("lab/c-7b", "merge", "merged"),
    ]


def test_a_parent_stands_once_with_the_relation_that_some_sentence_says():
    (found,) = stated(f"Based on {LAB}.\n\nA fine-tuned version of {LAB}.\n\nA copy of {LAB}.")
    assert (found.relation, found.quote) == ("finetune", f"A fine-tuned version of {LAB}.")


def test_names_of_before_there_were_organisations_count_in_links_and_code():
    for name in ("bert-base-uncased", "gpt2", "t5-small", "distilroberta-base"):
        for text in (f"Fine-tuned from `{name}`.", f"Fine-tuned from [x](https://huggingface.co/{name})."):
            assert [s.declared_parent for s in stated(text)] == [name]
        assert stated(f"Fine-tuned from {name}.") == []
    assert stated("Fine-tuned from `model` and `squad_v2`.") == []


def test_a_quote_is_one_sentence_and_short():
    long, more = "Long " * 100, "and so on " * 50
    text = f"First sentence v1.5, e.g. this. {long}model, which is a fine-tuned version of {LAB} {more}."
    (found,) = stated(text)
    assert len(found.quote) <= 300
    assert f"fine-tuned version of {LAB}" in found.quote
    (found,) = stated(f"First. A\x00 fine-tuned\u202e version\nof {LAB}. Last.")
    assert found.quote == f"A fine-tuned version of {LAB}."


def test_addresses_lead_to_models_or_nowhere():
    models = {
        "https://huggingface.co/lab/seven-7b": "lab/seven-7b",
        "http://www.huggingface.co/lab/seven-7b/?x=1#y": "lab/seven-7b",
        "https://hf.co/lab/seven-7b/blob/main/README.md": "lab/seven-7b",
        "huggingface.co/gpt2": "gpt2",
        "https://huggingface.co/gpt2/tree/main": "gpt2",
        "https://huggingface.co/lab%2Fseven": None,
        "https://huggingface.co/lab/seven-7b/viewer": None,
        "https://huggingface.co/lab": None,
        "https://huggingface.co/datasets/lab/x": None,
        "https://huggingface.co/docs/transformers": None,
        "https://huggingface.co/models?search=x": None,
        "https://huggingface.co/lab/..": None,
        "https://evil.example/huggingface.co/lab/seven": None,
        "": None,
    }
    assert {address: model_of_address(address) for address in models} == models


def test_plain_ids_are_no_paths_and_no_pairs_of_words():
    assert all(map(is_plain_id, ("lab/seven-7b", "a1/b2", "Org.x/name_v1.5")))
    other = (
        "and/or",
        "1/2",
        "models/seven-7b",
        "x/y.py",
        "a/../b-1",
        "fp16/32",
        "input/output",
        "a/b/c-1",
        "données/é-1",
    )
    assert not any(map(is_plain_id, other))


def test_masked_prose_leads_back_to_the_prose():
    text = f"**A** `code` {LAB} <b>and</b> [other](https://example.org) lab/x-1!"
    prose = masked(text, own_id="lab/x-1", targets={})
    assert prose.models == ("lab/seven-7b",)
    assert prose.text == "A code \ue0000\ue001 and other this-model!"
    for word in ("code", "and", "other", "!"):
        assert text[prose.origin(prose.text.index(word)) :].lstrip("`[").startswith(word)


@pytest.mark.parametrize(
    "piece",
    [
        "[",
        "[a",
        "[a](",
        "`",
        "<a ",
        "a/",
        "a-",
        "fine-tuned ",
        "based on ",
        "merge of a ",
        "_",
        "http://",
        "\ue0000\ue001 ",
        "a ",
    ],
)
@pytest.mark.parametrize("before", ["", "based on `lab/seven-7b` "])
def test_no_text_takes_long(piece, before):
    text = before + piece * (100_000 // len(piece))
    started = time.perf_counter()
    parse_card(text, model_id=OWN)
    assert time.perf_counter() - started < 5
