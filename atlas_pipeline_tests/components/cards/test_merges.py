import pytest

from atlas_pipeline.components.cards import parse_card

CARD = """
# mixed-7b

This is a merge of pre-trained language models created using [mergekit](https://github.com/arcee-ai/mergekit).

## Merge Details
### Merge Method

This model was merged using the [TIES](https://arxiv.org/abs/2306.01708) merge method using \
[lab/base-7b](https://huggingface.co/lab/base-7b) as a base.

### Models Merged

The following models were included in the merge:
* [lab/code-7b](https://huggingface.co/lab/code-7b)
* [lab/chat-7b](https://huggingface.co/lab/chat-7b) + [lab/style-lora](https://huggingface.co/lab/style-lora)

### Configuration

The following YAML configuration was used to produce this model:

"""


def merged(text, model_id="me/mixed-7b"):
    return [
        (s.declared_parent, s.role, s.relation)
        for s in parse_card(text, model_id=model_id).statements
        if s.source == "mergekit"
    ]


def fenced(recipe):
    return f"Made so:\n\n```yaml\n{recipe}\n```\n"


def test_the_words_of_mergekit_are_read():
    assert merged(CARD) == [
        ("lab/base-7b", "base", "merge"),
        ("lab/code-7b", "merged", "merge"),
        ("lab/chat-7b", "merged", "merge"),
        ("lab/style-lora", "merged", "merge"),
    ]
    parsed = parse_card(CARD, model_id="me/mixed-7b")
    assert {s.source for s in parsed.statements} == {"mergekit"}
    assert parsed.statements[1].quote == "[lab/code-7b](https://huggingface.co/lab/code-7b)"


def test_the_list_of_lazy_merges_is_read():
    text = (
        "mixed is a merge of the following models using [LazyMergekit](https://colab.research.google.com/x):\n"
        "* [lab/code-7b](https://huggingface.co/lab/code-7b)\n* [lab/chat-7b](https://huggingface.co/lab/chat-7b)\n\n"
        "## Usage\n* [lab/other-7b](https://huggingface.co/lab/other-7b)\n"
    )
    assert merged(text) == [("lab/code-7b", "merged", "merge"), ("lab/chat-7b", "merged", "merge")]


RECIPES = {
    "ties": (
        "models:\n  - model: lab/base-7b\n  - model: lab/code-7b\n    parameters: {weight: 0.5}\n"
        "merge_method: ties\nbase_model: lab/base-7b\ntokenizer_source: lab/tokens\n",
        [("lab/base-7b", "base"), ("lab/code-7b", "merged")],
    ),
    "slerp, the base is one of two": (
        "slices:\n- sources:\n  - model: lab/a-7b\n    layer_range: [0, 32]\n"
        "  - model: lab/b-7b\n    layer_range: [0, 32]\n"
        "merge_method: slerp\nbase_model: lab/a-7b\n",
        [("lab/a-7b", "merged"), ("lab/b-7b", "merged")],
    ),
    "passthrough": (
        "slices:\n  - sources:\n    - model: lab/a-7b\n      layer_range: [0, 24]\n"
        "  - sources:\n    - model: lab/a-7b\n      layer_range: [8, 32]\nmerge_method: passthrough\ndtype: bfloat16\n",
        [("lab/a-7b", "merged")],
    ),
    "adapter and revision": (
        "models:\n  - model: lab/a-7b@main+lab/lora-1\nmerge_method: linear\n",
        [("lab/a-7b", "merged"), ("lab/lora-1", "merged")],
    ),
    "mixture of experts": (
        "base_model: lab/base-7b\ngate_mode: hidden\nexperts:\n"
        "  - source_model: lab/code-7b\n    positive_prompts: [code]\n"
        "  - source_model: lab/chat-7b\n",
        [("lab/code-7b", "merged"), ("lab/chat-7b", "merged"), ("lab/base-7b", "base")],
    ),
    "steps": (
        "name: step-1\nmodels:\n  - model: lab/a-7b\nmerge_method: linear\n---\nname: own\n"
        "models:\n  - model: step-1\n  - model: lab/b-7b\nmerge_method: task_arithmetic\nbase_model: lab/base-7b\n",
        [("lab/a-7b", "merged"), ("lab/b-7b", "merged"), ("lab/base-7b", "base")],
    ),
    "mapping": (
        "merge_method: dare_ties\nbase_model: {model: {path: lab/base-7b, revision: abc}}\n"
        "models: [{model: {path: lab/a-7b}}]\n",
        [("lab/a-7b", "merged"), ("lab/base-7b", "base")],
    ),
    "modules": (
        "merge_method: linear\nmodules:\n  decoder:\n    slices:\n    - sources: [{model: lab/a-7b}]\n",
        [("lab/a-7b", "merged")],
    ),
    "a local path stands there": (
        "merge_method: linear\nmodels: [{model: ./out/a}, {model: lab/a-7b}]\n",
        [("./out/a", "merged"), ("lab/a-7b", "merged")],
    ),
}


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_are_read(name):
    recipe, expected = RECIPES[name]
    wanted = [(*each, "merge") for each in expected]
    assert merged(fenced(recipe)) == wanted
    indented = "".join(f"    {line}\n" for line in recipe.splitlines())
    assert merged(f"Made so:\n\n{indented}\nend") == wanted
    for statement in parse_card(fenced(recipe), model_id="me/own").statements:
        assert statement.declared_parent in statement.quote


@pytest.mark.parametrize(
    "recipe",
    [
        "base_model: lab/base-7b\nadapter: qlora\ndatasets: [x]\n",  # a training configuration
        "merge_method: [ties]\nmodels: {a: b}\n",
        "merge_method: ties\nmodels: lab/a-7b\nslices: 3\nbase_model: 7\nexperts: x\n",
        "merge_method: ties\nmodels: [1, [2], {model: 3}, {model: null}]\n",
        "merge_method: ties\nmodels: [{model: !!python/name:os.system x}]\n",
        "merge_method: ties\nmodels: [",
        "merge_method: linear\nmodels: [{model: ME/Mixed-7b}]\n",
    ],
)
def test_what_is_no_recipe_says_nothing(recipe):
    assert merged(fenced(recipe)) == []


def test_a_merged_base_is_merged():
    recipe = "merge_method: slerp\nbase_model: lab/a-7b\nmodels: [{model: lab/b-7b}]\n"
    text = fenced(recipe) + "\n## Models merged\n* [lab/a-7b](https://huggingface.co/lab/a-7b)\n"
    assert {parent: role for parent, role, _ in merged(text)} == {"lab/a-7b": "merged", "lab/b-7b": "merged"}
