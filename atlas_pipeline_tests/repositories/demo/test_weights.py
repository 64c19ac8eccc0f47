"""The weights on disk are related as the truth says."""

from __future__ import annotations

import json

import gguf
import ml_dtypes
import numpy as np
import pytest

from atlas_pipeline.repositories.demo.formats import gguf_name
from atlas_pipeline.repositories.demo.making import NETWORKS
from atlas_pipeline.repositories.demo.tasks import TASKS, split_digits
from atlas_pipeline.repositories.demo.training import accuracy

_FORMER = "lanternfish-lab/strip-former-73k"


def _flat(weights):
    return np.concatenate([weights[name].ravel() for name in sorted(weights)])


def _relative_change(child, parent):
    return np.linalg.norm(_flat(child) - _flat(parent)) / np.linalg.norm(_flat(parent))


def test_fine_tunes_move_a_little(hub):
    patterns = ("fan", "snake", "single", "lora_merged")
    changes = {
        (e["child_id"], e["parent_id"]): _relative_change(hub.weights(e["child_id"]), hub.weights(e["parent_id"]))
        for e in hub.edges(*patterns)
    }
    assert len(changes) > 50
    outside = {edge: change for edge, change in changes.items() if not 1e-3 < change < 8e-2}
    assert not outside


def test_adapters_hold_trained_factors_of_their_rank(hub):
    for edge in hub.edges("lora", "qlora"):
        config = json.loads((hub.folder(edge["child_id"]) / "adapter_config.json").read_text())
        tensors = hub.stored(edge["child_id"], "adapter_model.safetensors")
        assert config["peft_type"] == "LORA"
        assert {n.rpartition(".lora_")[0].removeprefix("base_model.model.") for n in tensors} == set(
            config["target_modules"]
        )
        base = hub.stored(edge["parent_id"])
        for module in config["target_modules"]:
            down = tensors[f"base_model.model.{module}.lora_A.weight"]
            up = tensors[f"base_model.model.{module}.lora_B.weight"]
            matrix = base[f"{module}.weight"].astype(np.float32)
            if f"{module}.SCB" in base:
                matrix = matrix * base[f"{module}.SCB"][:, None] / 127
            assert (up.shape[0], down.shape[1]) == matrix.shape
            assert up.shape[1] == down.shape[0] == config["r"]
            change = config["lora_alpha"] / config["r"] * up @ down
            assert 1e-3 < np.linalg.norm(change) / np.linalg.norm(matrix) < 0.3


def test_merged_adapters_change_few_matrices_by_low_rank(hub):
    for edge in hub.edges("lora_merged"):
        child, parent = hub.weights(edge["child_id"]), hub.weights(edge["parent_id"])
        changed = {name: child[name] - parent[name] for name in child if np.any(child[name] != parent[name])}
        assert 0 < len(changed) < len(child)
        for change in changed.values():
            values = np.linalg.svd(change, compute_uv=False)
            assert values[4] < 1e-4 * values[0]
            assert values[3] > 1e-3 * values[0]


def test_int8_copies_are_rounded_rows_of_their_parents(hub):
    for edge in hub.edges("int8"):
        stored, parent = hub.stored(edge["child_id"]), hub.weights(edge["parent_id"])
        config = json.loads((hub.folder(edge["child_id"]) / "config.json").read_text())
        assert config["quantization_config"]["load_in_8bit"] is True
        n_matrices = 0
        for name, tensor in stored.items():
            if tensor.dtype == np.int8:
                n_matrices += 1
                scale = stored[f"{name.removesuffix('.weight')}.SCB"].astype(np.float64)[:, None] / 127
                assert np.all(np.abs(tensor * scale - parent[name]) <= 0.5001 * scale)
        assert n_matrices >= 6


def test_gguf_copies_are_blocks_of_their_parents(hub):
    types = set()
    for edge in hub.edges("gguf"):
        parent = {gguf_name(n): t.astype(np.float32) for n, t in hub.weights(edge["parent_id"]).items()}
        for path in hub.folder(edge["child_id"]).glob("*.gguf"):
            reader = gguf.GGUFReader(path)
            assert {t.name for t in reader.tensors} == set(parent)
            for tensor in reader.tensors:
                types.add(tensor.tensor_type.name)
                again = gguf.quants.quantize(parent[tensor.name], tensor.tensor_type)
                assert np.array_equal(again.view(np.uint8).ravel(), tensor.data.view(np.uint8).ravel())
            assert reader.fields["general.architecture"].contents() in ("digits_former", "digits_denoiser")
            del reader, tensor
    assert types == {"F32", "F16", "Q8_0", "Q4_0"}


def test_gguf_files_name_their_grandparents_as_converters_do(hub):
    path = hub.folder("pebble-press/upside-down-q4") / "strip-former-upside-down.Q4_0.gguf"
    fields = gguf.GGUFReader(path).fields
    assert fields["general.base_model.0.repo_url"].contents() == f"https://huggingface.co/{_FORMER}"


def test_casts_are_their_parents_rounded(hub):
    dtypes = set()
    for edge in hub.edges("cast"):
        stored, parent = hub.stored(edge["child_id"]), hub.stored(edge["parent_id"])
        for name, tensor in stored.items():
            dtypes.add(tensor.dtype)
            assert np.array_equal(tensor, parent[name].astype(tensor.dtype))
    assert dtypes == {np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)}


def test_reuploads_are_the_same_bytes_under_another_name(hub):
    for edge in hub.edges("reupload"):
        assert edge["child_id"].split("/")[0] != edge["parent_id"].split("/")[0]
        child, parent = (hub.folder(edge[key]) / "model.safetensors" for key in ("child_id", "parent_id"))
        assert child.read_bytes() == parent.read_bytes()


def test_merges_lie_where_their_coefficients_put_them(hub):
    edges = hub.edges("merge_linear", "merge_slerp")
    sizes = set()
    for child_id in {edge["child_id"] for edge in edges}:
        parents = [edge for edge in edges if edge["child_id"] == child_id]
        child = hub.weights(child_id)
        sizes.add(len(parents))
        assert sum(edge["coefficient"] for edge in parents) == pytest.approx(1)
        mixed = sum(edge["coefficient"] * _flat(hub.weights(edge["parent_id"])) for edge in parents)
        error = np.linalg.norm(_flat(child) - mixed) / np.linalg.norm(mixed)
        # A straight line between points this near leaves the arc by the square of their distance.
        assert error < (1e-3 if parents[0]["pattern"] == "merge_slerp" else 3e-4)
    assert sizes == {2, 3}


def test_a_spherical_merge_keeps_lengths_that_a_linear_one_loses(hub):
    (first, second) = hub.edges("merge_slerp")
    child = hub.weights(first["child_id"])
    a, b = hub.weights(first["parent_id"]), hub.weights(second["parent_id"])
    name = "model.layers.1.mlp.up_proj.weight"
    straight = first["coefficient"] * a[name] + second["coefficient"] * b[name]
    assert np.linalg.norm(child[name]) > np.linalg.norm(straight) * (1 + 1e-5)


def test_frozen_embeddings_stay_equal_bit_for_bit(hub):
    child = hub.stored("oddsock-drawer/former-blotted")
    parent = hub.stored("brass-owl/sliding-former-step-0210")
    same = {name for name in child if np.array_equal(child[name], parent[name])}
    assert same == {"model.embed_patches.weight", "model.embed_positions.weight"}


def test_loners_share_shapes_but_no_weights(hub):
    root = hub.weights(_FORMER)
    shapes = {name: tensor.shape for name, tensor in root.items()}
    alike = 0
    for model_id in set(hub.second) - {edge["child_id"] for edge in hub.truth}:
        path = hub.folder(model_id) / "model.safetensors"
        loner = hub.weights(model_id)
        if model_id != _FORMER and {name: tensor.shape for name, tensor in loner.items()} == shapes:
            alike += 1
            assert _relative_change(loner, root) > 0.5, path
    assert alike == 2


def test_reported_accuracies_are_measured(hub):
    digits = split_digits(0)
    checked = 0
    for model_id, row in hub.second.items():
        card = json.loads(row["cardData"] or "{}")
        config = json.loads(row["config"] or "{}")
        if "model-index" not in card or config.get("model_type") != "digits_former" or "quantization_config" in config:
            continue
        network = NETWORKS["tall_former" if "tall" in model_id else "former"]
        weights = {name: tensor.astype(np.float32) for name, tensor in hub.weights(model_id).items()}
        for result in card["model-index"][0]["results"]:
            measured = accuracy(network, weights, task=TASKS[result["dataset"]["config"]], digits=digits)
            assert result["metrics"][0]["value"] == pytest.approx(measured, abs=0.003)
        checked += 1
    assert checked >= 15


def test_roots_have_learnt_their_digits(hub):
    digits = split_digits(0)
    weights = {name: tensor.astype(np.float32) for name, tensor in hub.weights(_FORMER).items()}
    assert accuracy(NETWORKS["former"], weights, task=TASKS["plain"], digits=digits) > 0.9
