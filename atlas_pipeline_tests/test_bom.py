from __future__ import annotations

import json

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from atlas_pipeline.bom import DEEPEST, ml_bom
from atlas_pipeline.questions import Pedigree
from atlas_pipeline_tests.conftest import run_atlas

SNAPSHOT = "2026-02-01"


def model(name, license_name="mit", presence="present"):
    return {"model_id": name, "license": license_name, "presence": presence}


def edge(child, parent, confidence=0.9, license_name="mit", presence="present", **more):
    about = {
        "relation": "finetune",
        "rule": "known",
        "origin": "documented",
        "is_ambiguous": False,
        "coefficient": None,
    }
    ends = {"child_id": child, "parent_id": parent, "license": license_name, "presence": presence}
    return ends | about | {"confidence": confidence} | more


def bom(name, *edges):
    text = ml_bom(Pedigree(model(name), list(edges), []), snapshot=SNAPSHOT)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    return json.loads(text)


def said(component):
    return {each["name"].removeprefix("atlas:"): each["value"] for each in component.get("properties", [])}


def parents(component):
    found = component.get("pedigree", {}).get("ancestors", [])
    return {f"{each['group']}/{each['name']}" if "group" in each else each["name"]: each for each in found}


def test_parents_stand_under_their_children_with_license_and_evidence():
    found = bom("lab/child", edge("lab/child", "Lab/Parent", 0.75), edge("Lab/Parent", "gpt2", license_name=None))
    child = found["metadata"]["component"]
    assert (child["type"], child["purl"]) == ("machine-learning-model", "pkg:huggingface/lab/child")
    assert child["externalReferences"][0]["url"] == "https://huggingface.co/lab/child"
    parent = parents(child)["Lab/Parent"]
    assert parent["licenses"] == [{"license": {"name": "mit"}}]
    assert said(parent) == {
        "relation": "finetune",
        "rule": "known",
        "origin": "documented",
        "confidence": "0.75",
        "is_ambiguous": "false",
    }
    source = parents(parent)["gpt2"]
    assert "licenses" not in source
    assert "pedigree" not in source


def test_merge_has_all_its_parents_and_a_shared_ancestor_is_taken_apart_once():
    merged = [
        edge("a/m", f"a/{name}", relation="merge", coefficient=share) for name, share in (("x", 0.25), ("y", 0.75))
    ]
    found = bom("a/m", *merged, edge("a/x", "a/base"), edge("a/y", "a/base"), edge("a/base", "a/source"))
    above = parents(found["metadata"]["component"])
    assert {name: said(each)["coefficient"] for name, each in above.items()} == {"a/x": "0.25", "a/y": "0.75"}
    bases = [parents(each)["a/base"] for each in above.values()]
    assert sorted(len(parents(base)) for base in bases) == [0, 1]


def test_long_chain_is_cut_and_says_so():
    chain = [edge(f"a/{step}", f"a/{step + 1}") for step in range(300)]
    component = bom("a/0", *chain)["metadata"]["component"]
    for step in range(1, DEEPEST + 1):
        component = parents(component)[f"a/{step}"]
    assert parents(component) == {}
    assert said(component)["ancestors_left_out"] == "true"


def test_removed_parent_says_that_it_is_gone():
    found = bom("a/child", edge("a/child", "a/gone", presence="removed", license_name=None))
    assert said(parents(found["metadata"]["component"])["a/gone"])["presence"] == "removed"


@pytest.mark.parametrize("name", ["a/b c", "x/<script>", "naïve/модель", "a/b/c", "a/%2e%2e"])
def test_any_name_gives_a_valid_bom(name):
    component = bom("a/child", edge("a/child", name))["metadata"]["component"]
    assert len(component["pedigree"]["ancestors"]) == 1


def test_same_pedigree_has_the_same_bytes_and_another_another_serial_number():
    one = Pedigree(model("a/b"), [edge("a/b", "a/c")], [])
    other = Pedigree(model("a/b"), [edge("a/b", "a/c", 0.5)], [])
    assert ml_bom(one, snapshot=SNAPSHOT) == ml_bom(one, snapshot=SNAPSHOT)
    serials = {json.loads(ml_bom(each, snapshot=SNAPSHOT))["serialNumber"] for each in (one, other)}
    assert len(serials) == 2


def test_command_prints_the_bom_of_a_model(finished):
    done = run_atlas(finished.home, "bom", "brass-owl/denoiser-slide-step-0030")
    component = json.loads(done.stdout)["metadata"]["component"]
    assert parents(component)
    missing = run_atlas(finished.home, "bom", "no/such-model", check=False)
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "no/such-model" in missing.stderr
