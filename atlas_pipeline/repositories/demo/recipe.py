"""The recipe of the demo hub: who is made from whom, how, when, and what the metadata says. Data only.

All organisations are invented. A change here, or anywhere in the package that changes a byte of the hub, needs a new
`RECIPE_VERSION`, so that hubs of an older recipe are built again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from atlas_pipeline.repositories.demo.lineage import (
    Cast,
    Documentation,
    FineTuning,
    Gguf,
    Int8,
    LinearMerge,
    LoraTuning,
    ModelPlan,
    Presence,
    Pretraining,
    Reupload,
    SphericalMerge,
    checkpoints,
    copy,
    merge,
    single,
    sweep,
)

RECIPE_VERSION: Final = 2

_API: Final = Documentation.BASE_MODELS
_TAGS: Final = Documentation.TAGS
_CARD: Final = Documentation.CARD

_FORMER: Final = "lanternfish-lab/strip-former-73k"
_NEGATIVE: Final = "lanternfish-lab/strip-former-73k-negative"
_UPSIDE: Final = "quillfern/strip-former-upside-down"
_EVENS: Final = "night-orchard/upside-down-evens"
_FOG: Final = "wobbly-ladder/evens-in-the-fog"
_MIRROR: Final = "paper-heron/looking-glass-former"
_DENOISER: Final = "mossgate-works/digit-denoiser-68k"
_ATTENTION: Final = tuple(
    f"model.layers.{layer}.self_attn.{name}" for layer in range(2) for name in ("q_proj", "v_proj")
)
_MLP: Final = tuple(f"model.layers.{layer}.mlp.{name}" for layer in range(2) for name in ("up_proj", "down_proj"))


def _classifiers() -> Iterator[ModelPlan]:
    """Yield the first region: everything that descends from one pretrained classifier."""
    yield ModelPlan(model_id=_FORMER, making=Pretraining(architecture="former"), day=41.37)
    # Two releases of one organisation, uploaded the wrong way round: the child is older than its parent.
    yield ModelPlan(
        model_id=_NEGATIVE,
        making=FineTuning(task="inverted", learning_rate=3e-4, n_steps=60),
        parents=(_FORMER,),
        pattern="single",
        minutes_after_parent=-4.5,
        documentation=_API,
    )
    yield ModelPlan(
        model_id="lanternfish-lab/strip-former-73k-steady",
        making=FineTuning(task="slide_down"),
        parents=(_FORMER,),
        pattern="single",
        minutes_after_parent=-11.2,
    )

    stem = "copperkettle-ai/former-quarter-turn"
    yield from sweep(stem, _FORMER, "quarter_turn", day=75.2, gaps=(0, 0.04, 1.3, 0.11, 6.7, 0.02), documented=(0,))
    yield from sweep("tin-teapot/negative-fog", _NEGATIVE, "inverted_fog", day=151.6, gaps=(0, 0.6, 0.05, 3.2, 0.9))
    yield from checkpoints(
        "brass-owl/sliding-former",
        _FORMER,
        "slide_right",
        day=118.1,
        gaps=(0, 0.03, 0.05, 0.4, 0.02, 2.1, 0.07),
        documented=(0,),
    )

    yield single(_UPSIDE, _FORMER, FineTuning(task="half_turn", learning_rate=3e-4), 92.8, _API)
    yield single(_EVENS, _UPSIDE, FineTuning(task="half_turn_evens"), 163.5)
    yield single(_FOG, _EVENS, FineTuning(task="half_turn_evens_fog"), 279.9, _TAGS)
    yield single("marmalade-dev/evens-in-the-fog-v2", _FOG, FineTuning(task="half_turn_evens_fog", n_steps=25), 408.0)
    yield single(
        "velvet-abacus/foggy-final-final",
        "marmalade-dev/evens-in-the-fog-v2",
        FineTuning(task="fog", learning_rate=3e-4),
        559.3,
    )
    yield from sweep("sleepy-comet/evens-sweep", _EVENS, "small_numbers", day=496.4, gaps=(0, 0.2, 0.04, 4.4))

    # Stored in 16 bits, as most fine-tunes are, and yet a parent.
    yield single(
        _MIRROR, _FORMER, FineTuning(task="mirrored", learning_rate=3e-4, n_steps=60, dtype="BF16"), 131.4, _CARD
    )
    yield single(
        "paper-heron/looking-glass-successor",
        _MIRROR,
        FineTuning(task="mirrored_successor", learning_rate=3e-4, dtype="BF16"),
        213.5,
    )
    yield single(
        "oddsock-drawer/former-blotted",
        "brass-owl/sliding-former-step-0210",
        FineTuning(task="blotted", frozen=("model.embed_",)),
        254.9,
    )
    yield single(
        "oddsock-drawer/quarter-turn-large",
        "copperkettle-ai/former-quarter-turn-lr2.0e-4-s2",
        FineTuning(task="large_numbers"),
        355.8,
    )
    yield single("marmalade-dev/former-successor", _FORMER, FineTuning(task="successor", n_steps=30), 647.4)

    yield from _misdeclared()
    yield from _orphans()
    yield from _classifier_adapters()
    yield from _classifier_copies()
    yield from _classifier_merges()


def _misdeclared() -> Iterator[ModelPlan]:
    """Yield models whose metadata is wrong in the ways that metadata on a hub is wrong."""
    yield single(
        "tumbleweed-ml/former-fog-shouting",
        _FORMER,
        FineTuning(task="fog"),
        188.3,
        _CARD,
        declares=("Lanternfish-Lab/Strip-Former-73K",),
    )
    yield single(
        "tumbleweed-ml/former-small-local",
        _FORMER,
        FineTuning(task="small_numbers"),
        227.6,
        _CARD,
        declares=("./outputs/strip-former/checkpoint-40",),
    )
    yield single(
        "wobbly-ladder/former-large-na", _FORMER, FineTuning(task="large_numbers"), 298.0, _CARD, declares=("N/A",)
    )
    first, second = "night-orchard/former-ouroboros-a", "night-orchard/former-ouroboros-b"
    yield single(first, _NEGATIVE, FineTuning(task="inverted", n_steps=25), 431.8, _API, declares=(second,))
    yield single(second, first, FineTuning(task="inverted_fog", n_steps=25), 433.9, _API)
    selfish = "sleepy-comet/former-selfie"
    yield single(selfish, _FORMER, FineTuning(task="blotted"), 454.5, _API, declares=(selfish,))


def _orphans() -> Iterator[ModelPlan]:
    """Yield two parents that are not there, and the children that declare them."""
    removed, unlisted = "dusty-lighthouse/former-withdrawn", "dusty-lighthouse/former-unseen"
    yield ModelPlan(
        model_id=removed,
        making=FineTuning(task="slide_down", learning_rate=3e-4),
        parents=(_FORMER,),
        pattern="single",
        day=198.9,
        documentation=_API,
        presence=Presence.REMOVED,
    )
    yield ModelPlan(
        model_id=unlisted,
        making=FineTuning(task="quarter_turn", learning_rate=3e-4),
        parents=(_FORMER,),
        pattern="single",
        day=246.2,
        presence=Presence.UNLISTED,
    )
    for number, (parent, pattern, documentation, task, day) in enumerate(
        (
            (removed, "removed_parent", _API, "slide_right", 329.4),
            (removed, "removed_parent", _TAGS, "fog", 665.4),
            (unlisted, "unlisted_parent", _TAGS, "blotted", 373.7),
            (unlisted, "unlisted_parent", _CARD, "mirrored", 593.6),
        )
    ):
        model_id = f"harbour-cats/keepsake-{number + 1}"
        yield single(model_id, parent, FineTuning(task=task), day, documentation, pattern=pattern)


def _classifier_adapters() -> Iterator[ModelPlan]:
    attention = LoraTuning(task="inverted", modules=_ATTENTION)
    yield single("thimble-labs/former-negative-lora", _FORMER, attention, 139.7, _API, pattern="lora")
    yield single(
        "thimble-labs/former-fog-lora-r8",
        _FORMER,
        LoraTuning(task="fog", modules=_ATTENTION + _MLP, rank=8, alpha=16.0),
        171.1,
        pattern="lora",
    )
    yield single(
        "velvet-abacus/upside-down-lora", _UPSIDE, LoraTuning(task="small_numbers", modules=_MLP), 262.0, pattern="lora"
    )
    yield single(
        "marmalade-dev/lora-from-my-desk",
        _FORMER,
        LoraTuning(task="quarter_turn", modules=_ATTENTION, stated_base="./models/strip-former"),
        468.3,
        pattern="lora",
    )
    yield single(
        "thimble-labs/former-blot-lora-merged",
        _FORMER,
        LoraTuning(task="blotted", modules=_ATTENTION, is_merged=True),
        173.5,
        pattern="lora_merged",
    )
    yield single(
        "velvet-abacus/upside-down-evens-lora-merged",
        _EVENS,
        LoraTuning(task="half_turn_evens", modules=_MLP, is_merged=True),
        603.4,
        pattern="lora_merged",
    )


def _classifier_copies() -> Iterator[ModelPlan]:
    int8 = "gearbox-quants/strip-former-73k-8bit"
    yield copy(int8, _FORMER, Int8(), 48.6, _API)
    yield copy("gearbox-quants/upside-down-8bit", _UPSIDE, Int8(), 101.2)
    yield copy("pebble-press/quarter-turn-int8", "copperkettle-ai/former-quarter-turn-lr3.0e-4-s3", Int8(), 625.2)
    yield single(
        "thimble-labs/former-8bit-qlora",
        int8,
        LoraTuning(task="slide_right", modules=_ATTENTION),
        207.0,
        pattern="qlora",
    )
    yield copy("gearbox-quants/strip-former-73k-GGUF", _FORMER, Gguf(("Q8_0", "Q4_0")), 50.9, _API)
    yield copy("gearbox-quants/evens-in-the-fog-GGUF", _FOG, Gguf(("Q8_0",)), 290.6, _TAGS)
    yield copy("pebble-press/upside-down-q4", _UPSIDE, Gguf(("Q4_0",)), 419.8)
    yield copy("pebble-press/looking-glass-f16-gguf", _MIRROR, Gguf(("F16",)), 155.1)
    yield copy("pebble-press/strip-former-73k-bf16", _FORMER, Cast("BF16"), 83.9)
    yield copy("gearbox-quants/foggy-final-final-fp16", "velvet-abacus/foggy-final-final", Cast("F16"), 565.4, _CARD)
    yield copy("pebble-press/negative-fp16", _NEGATIVE, Cast("F16"), 238.4)
    yield copy("mirror-depot/strip-former-73k", _FORMER, Reupload(), 66.5)
    yield copy("mirror-depot/evens-in-the-fog", _FOG, Reupload(), 344.7, _CARD)
    yield copy("attic-backup/looking-glass-former", _MIRROR, Reupload(), 635.1)


def _classifier_merges() -> Iterator[ModelPlan]:
    slide, turn = "brass-owl/sliding-former-step-0210", "copperkettle-ai/former-quarter-turn-lr3.0e-4-s3"
    yield merge("stirring-spoon/half-and-half", (_NEGATIVE, _UPSIDE), LinearMerge((0.5, 0.5)), 183.4, _API)
    yield merge("stirring-spoon/quiet-blend", (slide, _NEGATIVE), LinearMerge((0.7, 0.3)), 269.3)
    yield merge("stirring-spoon/three-ways", (_NEGATIVE, _UPSIDE, turn), LinearMerge((0.5, 0.3, 0.2)), 392.1, _TAGS)
    yield merge("harbour-cats/trio-untold", (_UPSIDE, slide, turn), LinearMerge((0.25, 0.35, 0.4), "F16"), 642.6)
    yield merge("stirring-spoon/slerp-of-two-worlds", (_UPSIDE, _NEGATIVE), SphericalMerge(0.4), 506.3)
    yield single(
        "oddsock-drawer/quiet-blend-tuned", "stirring-spoon/quiet-blend", FineTuning(task="slide_right"), 685.0
    )


def _denoisers() -> Iterator[ModelPlan]:
    """Yield the second region: everything that descends from one pretrained denoiser."""
    yield ModelPlan(model_id=_DENOISER, making=Pretraining(architecture="denoiser", n_steps=500), day=148.6)
    blots, turned = "kelp-forest/denoiser-inpaint", "quillfern/denoiser-upside-down"
    yield single(blots, _DENOISER, FineTuning(task="blotted"), 176.4, _API)
    yield single("kelp-forest/denoiser-inpaint-mirrored", blots, FineTuning(task="mirrored"), 282.8)
    yield single(
        "marmalade-dev/inpaint-mirrored-evens",
        "kelp-forest/denoiser-inpaint-mirrored",
        FineTuning(task="half_turn_evens", learning_rate=1e-4),
        482.9,
    )
    yield single(turned, _DENOISER, FineTuning(task="half_turn"), 222.6, _CARD)
    yield from sweep(
        "copperkettle-ai/denoiser-negative", _DENOISER, "inverted", day=249.9, gaps=(0, 0.09, 2.2, 0.03, 5.1)
    )
    yield from checkpoints(
        "brass-owl/denoiser-slide", turned, "slide_down", day=364.1, gaps=(0, 0.06, 0.3, 0.02, 1.7), documented=(0, 3)
    )
    layers = ("encoder.layers.1", "decoder.layers.1")
    yield single(
        "thimble-labs/denoiser-fog-lora", _DENOISER, LoraTuning(task="fog", modules=layers), 275.7, _API, pattern="lora"
    )
    yield single(
        "kelp-forest/inpaint-mirror-lora", blots, LoraTuning(task="mirrored", modules=layers), 616.7, pattern="lora"
    )
    yield copy("gearbox-quants/digit-denoiser-8bit", _DENOISER, Int8(), 166.9, _TAGS)
    yield copy("gearbox-quants/digit-denoiser-GGUF", _DENOISER, Gguf(("Q8_0",)), 169.2, _API)
    yield copy("pebble-press/denoiser-inpaint-q4", blots, Gguf(("Q4_0",)), 517.5)
    yield copy("pebble-press/denoiser-upside-down-fp16", turned, Cast("F16"), 445.5)
    yield copy("mirror-depot/denoiser-inpaint", blots, Reupload(), 660.7)
    yield merge("stirring-spoon/denoiser-duet", (blots, turned), LinearMerge((0.6, 0.4)), 543.7)


def _loners() -> Iterator[ModelPlan]:
    """Yield models that descend from nothing, most of them in the exact shapes of a region."""
    for model_id, architecture, day in (
        ("fern-and-gravel/former-from-scratch", "former", 195.4),
        ("hollow-oak/independent-former", "former", 526.5),
        ("fern-and-gravel/tall-former-108k", "tall_former", 380.4),
        ("hollow-oak/independent-denoiser", "denoiser", 577.4),
    ):
        yield ModelPlan(model_id=model_id, making=Pretraining(architecture=architecture), pattern="loner", day=day)


def plan_models() -> tuple[ModelPlan, ...]:
    """Lay out every model of the hub, parents before their children."""
    return (*_classifiers(), *_denoisers(), *_loners())
