"""Ways to break sound rows of the features stage."""

from __future__ import annotations

from atlas_pipeline_tests.quality.breakages import Breakage, change
from atlas_pipeline_tests.quality.sound_tables import BASE, GONE, TUNED

ADAPTER = {"format": "adapter", "adapter_kind": "LoRA", "adapter_rank": 8, "base_id": GONE, "is_delta": False}

BROKEN_FEATURES = (
    Breakage(
        "features.models/failures_say_why",
        "failed and silent",
        change("features.models", {"model_id": GONE}, error=None),
        1,
        (GONE, "no_weights"),
    ),
    Breakage(
        "features.models/failures_say_why",
        "well without neurons",
        change("features.models", {"model_id": BASE}, n_neurons=0),
        1,
        (BASE,),
    ),
    Breakage(
        "features.models/failures_say_why",
        "failed with neurons",
        change("features.models", {"model_id": GONE}, vector_group="g", n_neurons=1),
        1,
        (GONE,),
    ),
    Breakage(
        "features.models/failures_say_why",
        "neurons without a digest",
        change("features.models", {"model_id": BASE}, sampled_sha256=None),
        1,
        (BASE,),
    ),
    *(
        Breakage(
            "features.models/adapters_say_their_kind",
            f"an adapter with {flaw}",
            change("features.models", {"model_id": BASE}, **{**ADAPTER, **flaw}),
            1,
            (BASE,),
        )
        for flaw in ({"adapter_kind": None}, {"is_delta": None}, {"base_id": None}, {"is_delta": True}, {"format": "x"})
    ),
    Breakage(
        "features.models/equal_files_have_equal_neurons",
        "one file, two vectors",
        lambda rows: [
            change("features.models", {"model_id": model}, content_sha256="same")(rows) for model in (BASE, TUNED)
        ],
        1,
        (BASE, TUNED),
    ),
    Breakage(
        "features.tensors/matrices_add_up_to_the_vector",
        "a matrix too few",
        change("features.tensors", {"model_id": BASE}, n_neurons=99),
        1,
        (BASE, "99"),
    ),
    Breakage(
        "features.tensors/matrices_add_up_to_the_vector",
        "neurons of a model that was not read",
        change("features.tensors", {"model_id": BASE}, model_id=GONE),
        2,
        (GONE,),
    ),
    Breakage(
        "features.tensors/values_can_be_that_many",
        "more values than numbers",
        change("features.tensors", {"model_id": BASE}, max_distinct_values=9),
        1,
        (BASE,),
    ),
    Breakage(
        "features.tensors/values_can_be_that_many",
        "least above greatest",
        change("features.tensors", {"model_id": BASE}, min_distinct_values=8, max_distinct_values=7),
        1,
        (BASE,),
    ),
    Breakage(
        "features.tensors/values_can_be_that_many",
        "more neurons than rows",
        change("features.tensors", {"model_id": BASE}, n_rows=99),
        1,
        (BASE, "99"),
    ),
)
