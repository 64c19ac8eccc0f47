"""The phrases in which cards say what a model was made from, as patterns over masked prose.

A pattern's group ``parents`` holds one mention or a list of them. Between a phrase and its mention stand at most a few
words, none of which may turn the sentence to something else. Every repetition is bounded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from atlas_pipeline.components.cards.blocks import MARK_CLOSE, MARK_OPEN

MENTION: Final = rf"{MARK_OPEN}[0-9]{{1,4}}{MARK_CLOSE}"

_TURNING = (
    "on|in|with|using|by|and|or|for|to|via|than|that|which|who|as|not|no|is|was|are|were|be|has|have|had|can|will|if|"
    "when|where|but|so|because|while|after|before|data|dataset|datasets|corpus|corpora|paper|code|script|scripts|task|"
    "tasks|library|repository|repo|notebook|tokenizer|tokeniser|vocabulary|vocab|architecture|framework|"
    "architectures|scratch|instead|see|like|similar|embeddings?|url|images?|sentences?|examples?|tokens?|texts?|"
    "tweets?|lyrics|please|check|at|available|here|concept|idea|ideas|method|approach|objective|loss|results?"
)
_GAP = rf"(?:(?!(?:{_TURNING})\b)[^\s{MARK_OPEN}{MARK_CLOSE}.;:!?|]{{1,40}}(?:\.[^\s.]{{1,20}})?\s){{0,6}}"
_OPENING = r"[(\[\"'\u201c\u2018]{0,2}"
_AND = r"\s?(?:,|&|\+|/|and|,\s?and|as well as)\s?(?:the\s|a\s)?"
_ONE = rf"{_GAP}{_OPENING}(?P<parents>{MENTION})"
_SEVERAL = rf"{_GAP}{_OPENING}(?P<parents>{MENTION}(?:{_AND}{MENTION}){{0,20}})"

_TUNED = r"fine-?\s?tun(?:ed|ing|e)"
_QUANTIZED = (
    r"(?:gguf|ggml|gptq|awq|exl2|exl3|aqlm|hqq|eetq|autoround|quip|nf4|nvfp4|mxfp4|mxfp8|fp8|int4|int8|bnb|bitsandbytes|"
    r"[1-8](?:\.[0-9]{1,2})?[-\s]?bits?|[1-8](?:\.[0-9]{1,2})?[-\s]?bpw|w4a16|w8a8|w8a16|i?matrix|imat|"
    r"(?:de)?quanti[sz]ed|quanti[sz]ations?|quants?)"
)
_ADAPTER = (
    r"(?:(?:q|do|rs)?-?lora|lokr|loha|lycoris|adapters?|peft|ia3|prefix[-\s]tuning|prompt[-\s]tuning|"
    r"textual inversion|dreambooth lora)"
)
_THING = (
    r"(?:versions?|variants?|copy|copies|conversions?|ports?|exports?|weights|files?|format|models?|checkpoints?|repacks?|"
    r"builds?|derivatives?|formats?|editions?|release)"
)
_CHANGED = (
    r"(?:pruned|compressed|smaller|larger|reduced|shrunk|trimmed|sparse|sparsified|modified|uncensored|abliterated|"
    r"decensored|extended|expanded|patched|onnx|pytorch|torch|tensorflow|tf|jax|flax|openvino|mlx|coreml|core ml|"
    r"ctranslate2|tflite|safetensors|converted|exported|ported|fp16|bf16|fp32|float16|bfloat16|half-precision|sharded|"
    r"distilled|upscaled|depth-upscaled|dequantized|re-?uploaded|improved|updated|adapted|optimized|static|scaled)"
)


@dataclass(frozen=True)
class Phrase:
    """One way to name a parent.

    Attributes:
        pattern: matches the phrase with its mentions, the group ``parents``.
        relation: what it says; None where it does not.
        is_open: whether other words of the sentence may say more about the relation.
    """

    pattern: re.Pattern[str]
    relation: str | None
    is_open: bool = False


def _phrase(text: str, relation: str | None = None, *, is_open: bool = False) -> Phrase:
    return Phrase(re.compile(text, re.IGNORECASE), relation, is_open)


PHRASES: Final = (
    # Quantised versions stand first: "GGUF version of a fine-tuned x" is a quantisation of x.
    _phrase(rf"\b{_QUANTIZED}\s(?:[\w.-]{{1,20}}\s){{0,3}}?(?:{_THING}\s)?(?:of|for|from)\s{_ONE}", "quantized"),
    _phrase(rf"\bquanti[sz]ed\s{_ONE}(?:\sto\b|\susing\b|\swith\b|\sin\b)", "quantized"),
    _phrase(rf"\bquanti[sz]ing\s(?:[\w-]{{1,20}}\s){{0,3}}?{_ONE}", "quantized"),
    _phrase(
        rf"\bconverted\s(?:\w{{1,20}}\s){{0,6}}?{_QUANTIZED}\s(?:[\w-]{{1,20}}\s){{0,3}}?from\s{_ONE}", "quantized"
    ),
    _phrase(rf"\b{_ADAPTER}\s(?:[\w-]{{1,20}}\s){{0,3}}?(?:for|of|on|from|over)\s(?:top\sof\s)?{_ONE}", "adapter"),
    _phrase(rf"\bmerge[ds]?\s(?:[\w-]{{1,20}}\s){{0,4}}?(?:of|from|between)\s{_SEVERAL}", "merge"),
    _phrase(rf"\bmerging\s{_SEVERAL}", "merge"),
    _phrase(rf"\b{_TUNED}\s(?:[\w-]{{1,20}}\s){{0,3}}?{_THING}\s(?:of|from|based on|for)\s{_ONE}", "finetune"),
    _phrase(rf"\b(?:{_TUNED}|finetunes?|fine-tunes?)\s(?:[\w-]{{1,20}}\s){{0,3}}?(?:from|of|off)\s{_ONE}", "finetune"),
    _phrase(rf"\b(?:{_TUNED}|trained)\s(?:up)?on\s(?:the\s)?top\sof\s{_ONE}", "finetune"),
    _phrase(
        rf"(?<!\bto\s)\b{_TUNED}\s{_GAP}{_OPENING}(?P<parents>{MENTION})(?!\s(?:dataset|data|corpus)\b)", "finetune"
    ),
    _phrase(
        rf"(?P<parents>{MENTION})\)?(?:\s(?:\((?:[\w-]{{1,20}}\s?){{1,4}}\)|base|pre-?trained|language|model|checkpoint|large|"
        rf"weights|version|transformer)){{0,3}},?\s(?:(?:that|which)\s)?(?:(?:is|was|were|has been|have been)\s)?"
        rf"(?:(?:then|further|subsequently|later|additionally)\s)?{_TUNED.replace('|ing|e', '')}\b",
        "finetune",
    ),
    _phrase(
        rf"\b(?:further|continued|continual|continually|continuously|continuing|additionally)\s"
        rf"(?:[\w-]{{1,20}}\s)?(?:pre-?\s?)?train(?:ed|ing)\s(?:version\s)?(?:of|from)\s{_ONE}",
        "finetune",
    ),
    _phrase(
        rf"\b(?:further|continue[sd]?(?:\sto)?)\s(?:pre-?\s?)?train(?:ed|ing)?\s(?:the\s|an?\s)?{_ONE}", "finetune"
    ),
    _phrase(rf"\b(?:based|built|build|builds)\s(?:up)?o(?:n|ff)\s(?:top\sof\s|of\s)?{_SEVERAL}", is_open=True),
    _phrase(
        rf"\b(?:initiali[sz](?:ed|es|e|ing)|warm-?\s?started|starting|started|bootstrapped)\s(?:[\w-]{{1,20}}\s){{0,3}}?"
        rf"(?:from|with|using|by|off)\s{_SEVERAL}",
        is_open=True,
    ),
    _phrase(rf"\b(?:re-?)?train(?:ed|ing)\s(?:starting\s)?from\s{_ONE}", is_open=True),
    _phrase(rf"\b{_CHANGED}\s(?:[\w()-]{{1,20}}\s){{0,3}}?{_THING}\s(?:of|for|from)\s{_ONE}"),
    _phrase(
        rf"(?<!\band\s)\b(?:distillations?|distilled|converted|derived|ported|forked|cloned|copied)\s(?:[\w-]{{1,20}}\s){{0,4}}?"
        rf"(?:from|of)\s{_ONE}"
    ),
    _phrase(
        rf"\b(?:base\s(?:[\w-]{{1,20}}\s)?|foundation\s|model\sused\sfor\s(?:fine-?tuning|training)\s|initial\s|starting\s)"
        rf"(?:model|checkpoint)?\s?(?:is|was)\s{_ONE}",
        is_open=True,
    ),
    _phrase(rf"\bwe\suse[d]?\s(?:the|an?)\s(?:pre-?trained|base)\s{_ONE}(?:\s(?:model|checkpoint))", is_open=True),
    _phrase(rf"\b(?:conversion|copy|clone|fork|mirror|re-?upload|port|backup|derivative)\sof\s{_ONE}"),
    _phrase(
        rf"\b(?:using|use[sd]?|with|from|take[ns]?|took|leverag(?:es|ed|ing))\s{_SEVERAL}(?:\s(?:model|checkpoint|weights))?"
        rf"\sas\s(?:an?|the|its|our|their)?\s?(?:[\w-]{{1,20}}\s){{0,2}}?"
        rf"(?:base|backbone|starting|initial\w{{0,10}}|foundation|pre-?trained)\b",
        is_open=True,
    ),
)

ADVICE: Final = re.compile(r"\b(?:can|could|should|may|might|you|your|please|see|refer|how to)\b", re.IGNORECASE)
"""Words after "fine-tuning x" which make it something to do, not something done."""

FROM_SCRATCH: Final = re.compile(
    r"\bfrom scratch\b|\bown\s(?:\w{1,20}\s){0,2}vocabulary\b|\bscal(?:es|ed|ing)\s[^.\n]{0,40}\b(?:down|up)\b",
    re.IGNORECASE,
)
"""Words of a card that is "based on" a model's architecture and not on its weights."""

PRETRAINED_ANEW: Final = re.compile(r"\band\s(?:was|is|were|has been)\spre-?\s?trained\s(?:on|from)\b", re.IGNORECASE)
"""Words after "based on x" which tell the same in one sentence."""

LABEL: Final = re.compile(
    rf"^\|?\s?(?:model\s)?(?:(?P<original>original(?:\sbase)?\smodels?|quanti[sz]ed\sfrom|quanti[sz]ed\smodel\sof)"
    rf"|(?P<tuned>fine-?\s?tuned\sfrom(?:\smodel)?)"
    rf"|(?:pre-?trained\s)?base\s(?:model|checkpoint|architecture\smodel)s?(?:\s(?:name|used|id))?"
    rf"|base|parent\smodels?|source\smodel|foundation\smodel|backbone(?:\smodel)?|upstream\smodel|pre-?trained\smodel"
    rf"|(?:starting|initial)\s(?:checkpoint|model|point|weights)|(?:initiali[sz]ed|derived|converted|trained)\sfrom"
    rf"|language\smodel)"
    rf"(?:\s[\[(]optional[\])])?\s?[:|\u2013=-]{{1,2}}\s?{_SEVERAL}",
    re.IGNORECASE,
)
"""A line or table row of the form "Base model: x"."""

LABEL_HEADING: Final = re.compile(r"(?:pre-?trained\s)?(?:base|parent|original|source)\smodel", re.IGNORECASE)

VETO: Final = re.compile(
    # comparisons and other models
    r"\b(?:unlike|compar\w{1,10}|outperform\w{0,4}|better|worse|similar\w{0,2}|instead|rather|than|whereas|although|"
    r"others?|another|previous|previously|earlier|older|alternative|alternatively|baselines?|vs|versus|family|most|many|"
    r"some|several|all models|including|such as|inspired|teachers?|we also|also (?:provide|release|trained|available|"
    r"include)|benchmark|performance|results|evaluation|"
    # negations, conditions, advice
    r"not|never|without|could|may|might|should|would|if|how|wish|want|can be|you|your|yourself|people|users?|see|check|"
    r"example|e\.g|tutorial|"
    # things that are no model, or not this one
    r"tokeni[sz]ers?|tokeni[sz]ation|vocabulary|vocab|code|codebase|scripts?|dataset|corpus|notebook|architecture|demo|"
    r"implementation|hyper-?parameters?|card|readme|template|space|app|pipeline is|methodology|recipe|the tasks|"
    r"merge method|retriever|reader is|reward model|judge|classifier is|discriminator is|labell?ed|annotated|filtered|"
    r"generated|translated|synthetic|scored|classified|license|licence|terms)\b|n['\u2019]t\b",
    re.IGNORECASE,
)
"""Words before a phrase after which it is not about this model, or not a fact."""

VETO_AFTER: Final = re.compile(
    r"(?:['\u2019]s?)?\s?(?:[\w-]{1,20}\s)?(?:tokeni[sz]ers?|tokeni[sz]ation|vocab\w{0,6}|datasets?|data|corpus|architectures?|config\w{0,10}|"
    r"code|scripts?|library|paper|repo\w{0,8}|notebooks?|space|demo|topology|framework|toolkit|recipe|benchmark|processor|"
    r"feature extractor|embeddings space|template|card|dictionary|format|layout|license|tutorial|example|collection|"
    r"settings|hyper-?parameters?|approach|method|series of papers)\b",
    re.IGNORECASE,
)
"""Words after a mention which make it something that is no model."""

NEGATION_IN_PHRASE: Final = re.compile(r"\b(?:not|never|no longer|without)\b", re.IGNORECASE)
TUNED_WORD: Final = re.compile(rf"\b(?:{_TUNED}|finetuned?|fine-tunes?)\b", re.IGNORECASE)
ADAPTER_WORD: Final = re.compile(rf"\b{_ADAPTER}\b", re.IGNORECASE)
QUANTIZED_WORD: Final = re.compile(rf"\b{_QUANTIZED}\b", re.IGNORECASE)
QUANTIZED_NAME: Final = re.compile(
    r"(?:^|[-_.])(?:gguf|ggml|gptq|awq|exl2|exl3|aqlm|hqq|int4|int8|fp8|nf4|nvfp4|bnb|[2-8]bit|[2-8]-bit|quantized)(?:$|[-_.])",
    re.IGNORECASE,
)
"""Part of a model's own name by which its "original model" is the one that was quantised."""

ORIGINAL_CARD: Final = re.compile(r"\boriginal (?:model )?(?:card|readme|model description)\b", re.IGNORECASE)
"""Heading under which a card repeats the one of the model that it was made from."""

OTHER_SECTION: Final = re.compile(
    r"\b(?:related|other|similar|see also|comparison|compar\w{1,8}|benchmarks?|leaderboard|citation|cite|reference|"
    r"references|acknowledg\w{0,8}|changelog|limitations?|faq|credits?|thanks|available models|model zoo|"
    r"all models|models list|list of)\b",
    re.IGNORECASE,
)
"""Headings under which a card speaks of other models."""
