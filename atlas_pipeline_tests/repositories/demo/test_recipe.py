from __future__ import annotations

import re

from atlas_pipeline.repositories.demo.lineage import Gguf, LinearMerge, LoraTuning, Presence, Pretraining
from atlas_pipeline.repositories.demo.listing import creation_times, truth_table
from atlas_pipeline.repositories.demo.making import NETWORKS
from atlas_pipeline.repositories.demo.recipe import plan_models
from atlas_pipeline.repositories.demo.tasks import TASKS

PLANS = plan_models()
BY_ID = {plan.model_id: plan for plan in PLANS}


def test_parents_come_before_their_children():
    assert len(BY_ID) == len(PLANS)
    assert 70 <= sum(plan.presence is Presence.LISTED for plan in PLANS) <= 110
    seen = set()
    for plan in PLANS:
        assert set(plan.parents) <= seen
        assert bool(plan.parents) != isinstance(plan.making, Pretraining)
        seen.add(plan.model_id)


def test_plans_can_be_carried_out():
    for plan in PLANS:
        assert re.fullmatch(r"[a-z0-9-]+/[A-Za-z0-9.-]+", plan.model_id)
        making = plan.making
        if isinstance(making, Pretraining):
            assert making.architecture in NETWORKS
        assert getattr(making, "task", "plain") in TASKS
        if isinstance(making, LinearMerge):
            assert abs(sum(making.coefficients) - 1) < 1e-12
        # A GGUF file or an adapter is where a line ends: no network starts from one.
        assert not any(isinstance(BY_ID[parent].making, Gguf) for parent in plan.parents)
        assert not any(
            isinstance(BY_ID[parent].making, LoraTuning) and not BY_ID[parent].making.is_merged
            for parent in plan.parents
        )


def test_every_pattern_occurs():
    patterns = set(truth_table(PLANS)["pattern"].to_pylist())
    assert patterns == {
        *("fan", "snake", "single", "lora", "lora_merged", "qlora", "int8", "gguf", "cast", "reupload"),
        *("merge_linear", "merge_slerp", "removed_parent", "unlisted_parent"),
    }


def test_dates_follow_the_lineage_but_for_two_inversions():
    for seed in (0, 1, 7):
        times = creation_times(PLANS, seed=seed)
        gaps = [
            (times[plan.model_id] - times[parent], plan, BY_ID[parent]) for plan in PLANS for parent in plan.parents
        ]
        inverted = [(gap, child, parent) for gap, child, parent in gaps if gap.total_seconds() <= 0]
        assert len(inverted) == 2
        for gap, child, parent in inverted:
            assert -900 < gap.total_seconds() < 0
            assert child.author == parent.author
            assert isinstance(parent.making, Pretraining)
        assert {2024, 2025} == {time.year for time in times.values()}


def test_lines_are_at_least_four_deep():
    depth = {}
    for plan in PLANS:
        depth[plan.model_id] = 1 + max((depth[parent] for parent in plan.parents), default=-1)
    assert max(depth.values()) >= 4
    assert max(d for i, d in depth.items() if BY_ID[i].pattern != "snake") >= 4


def test_truth_leaves_out_what_no_one_could_know():
    truth = truth_table(PLANS).to_pylist()
    unlisted = {plan.model_id for plan in PLANS if plan.presence is Presence.UNLISTED}
    assert unlisted
    assert not unlisted & {edge["child_id"] for edge in truth}
    assert unlisted & {edge["parent_id"] for edge in truth}
    assert len({(edge["child_id"], edge["parent_id"]) for edge in truth}) == len(truth)
    assert all((edge["coefficient"] is not None) == (edge["relation"] == "merge") for edge in truth)
