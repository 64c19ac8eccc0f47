"""Algorithm 1 on trees that are known, on hostile input, and against a slow reading of the same rules."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas_pipeline.distances.neighbors import squared_distances, weight_clusters
from atlas_pipeline.edges.algorithm1 import chart, find_patterns
from atlas_pipeline.edges.records import Edge, edges_table
from atlas_pipeline_tests.edges.populations import Population, pairs, region_of, shuffled

NAN = float("nan")


def rules(edges):
    return {int(edge.child_id[-3:]): edge.rule for edge in edges}


def line(*places):
    """Models on a line, far from the origin."""
    return np.array([[100.0 + place, 100.0] for place in places])


def test_snake_is_charted_link_by_link():
    population = Population()
    base = population.base()
    chain = [base, *population.snake(base, length=12)]
    assert pairs(chart(population.region())) == set(zip(chain[1:], chain[:-1], strict=True))


def test_fan_of_independent_steps_is_charted_to_its_origin():
    population = Population(seed=1)
    base = population.base()
    members = population.fan(base, size=12)
    edges = chart(population.region())
    assert pairs(edges) == {(member, base) for member in members}
    assert all(edge.relation == "finetune" and edge.origin == "charted" for edge in edges)


def test_fan_rule_finds_an_origin_that_is_not_the_nearest():
    # The members share most of their update, so each is nearest to another member.
    generator = np.random.default_rng(2)
    base, shared = generator.normal(size=(2, 400))
    members = [base + 0.01 * shared + 0.004 * generator.normal(size=400) for _ in range(4)]
    region = region_of([base, *members], days=[0, 5, 3, 8, 4])
    edges = chart(region, spread_threshold=np.inf, snake_percentile=100)
    assert pairs(edges) == {(member, 0) for member in (1, 2, 3, 4)}
    assert set(rules(edges).values()) == {"fan"}
    nearest = chart(region, spread_threshold=0)
    assert sum(parent != 0 for _, parent in pairs(nearest)) >= 2
    # The fan rule passes over nearer candidates, and says so.
    assert [edge.is_ambiguous for edge in edges if edge.evidence.neighbor_rank > 1] == [True, True, True]


def test_snake_rule_takes_the_nearest_where_distances_follow_time():
    region = region_of(line(0, 1, 2.1, 3.3, 4.6, 6.1), days=[0, 1, 2, 3, 4, 5])
    edges = chart(region, spread_threshold=np.inf, snake_percentile=0)
    snake = [edge for edge in edges if edge.rule == "snake"]
    # All but the least correlated model lie above the 0th percentile.
    assert len(snake) == 4
    assert {(row, row - 1) for row in (1, 3, 4, 5)} == pairs(snake)
    assert all(edge.evidence.correlation > 0.5 for edge in edges)


def test_copies_and_quantisations_are_leaves_of_what_they_copy():
    population = Population(seed=3)
    base = population.base()
    child = population.finetune(base)
    small = population.int8(child)
    copies = [population.copy(child), population.copy(base), population.copy(child)]
    small_copy = population.copy(small)
    population.is_quantized[small_copy] = True
    late = population.finetune(child)
    edges = chart(population.region())
    assert pairs(edges) == {
        (child, base),
        (small, child),
        (copies[0], child),
        (copies[1], base),
        (copies[2], child),
        (small_copy, child),
        (late, child),
    }
    found = {int(edge.child_id[-3:]): (edge.relation, edge.rule) for edge in edges}
    assert found[small] == ("quantized", "quantized")
    assert found[small_copy] == ("quantized", "duplicate")
    assert found[copies[0]] == ("duplicate", "duplicate")
    (last,) = [edge for edge in edges if edge.child_id == f"org/m{late:03d}"]
    # Copies and quantisations compete with nobody.
    assert set(last.evidence.candidates) == {f"org/m{child:03d}", f"org/m{base:03d}"}
    assert not last.is_ambiguous


def test_mixed_population_is_charted_completely():
    population = Population(seed=4)
    first, second = population.base(), population.base()
    for base in (first, second):
        for child in population.fan(base, size=4):
            population.finetune(child)
            population.int8(child)
        tip = population.snake(base, length=5)[-1]
        population.copy(tip)
    vectors = np.array(population.vectors)
    squared = squared_distances(vectors)
    region = population.region(squared_distances=squared, clusters=weight_clusters(vectors, squared=squared))
    truth = {(int(edge.child_id[-3:]), int(edge.parent_id[-3:])) for edge in population.truth}
    assert pairs(chart(region, spread_threshold=0)) == truth
    assert len(pairs(chart(region)) & truth) >= 0.85 * len(truth)


def test_equal_files_are_certain_and_equal_neurons_nearly():
    vectors = line(0, 5, 0, 5.5)
    edges = chart(region_of(vectors, content_sha256=("aa", "bb", None, "bb")))
    confidence = {int(edge.child_id[-3:]): edge.confidence for edge in edges if edge.rule == "duplicate"}
    assert pairs(edges) == {(1, 0), (2, 0), (3, 1)}
    assert confidence[3] == 1.0
    assert 0.9 < confidence[2] < 1.0


def test_adapter_that_leaves_the_sampled_neurons_alone_is_no_copy():
    region = region_of(line(0, 0, 7), is_adapter=np.array([False, True, False]))
    edges = chart(region)
    assert (edges[0].child_id, edges[0].relation, edges[0].rule) == ("org/m001", "adapter", "nearest")
    assert edges[0].evidence.squared_distance == 0


def test_clusters_are_charted_apart_and_each_has_its_source():
    region = region_of(line(0, 1, 2, 3), clusters=[0, 1, 0, 1])
    assert pairs(chart(region)) == {(2, 0), (3, 1)}


def test_documented_parents_are_kept_whatever_the_weights_say():
    region = region_of(
        line(0, 1, 50, 51),
        known_parents={2: ((0, "merge"), (1, "merge")), 3: ()},
        known_sources={(2, 0): ("tag", "card_data")},
    )
    edges = chart(region)
    assert pairs(edges) == {(1, 0), (2, 0), (2, 1)}
    known = [edge for edge in edges if edge.origin == "documented"]
    assert {(edge.relation, edge.rule) for edge in known} == {("merge", "known")}
    assert known[0].evidence.sources == ("tag", "card_data")
    assert known[0].evidence.squared_distance == 2500
    assert known[0].evidence.days_apart == 2
    assert known[1].evidence.neighbor_rank == 1


def test_charted_edge_gives_way_to_a_documented_one_in_a_cycle():
    # 0 documents the later 1 as its parent; by date alone 1 would be charted as a child of 0.
    edges = chart(region_of(line(0, 1, 9), known_parents={0: ((1, "finetune"),)}))
    assert pairs(edges) == {(0, 1), (2, 1)}
    documented_cycle = {0: ((1, "finetune"),), 1: ((0, "finetune"),)}
    # Of two documented edges the one whose child is older goes.
    assert pairs(chart(region_of(line(0, 1), known_parents=documented_cycle))) == {(1, 0)}


def test_late_original_is_not_the_copy_of_its_own_copy():
    region = region_of(line(0, 0, 0), known_parents={0: ((1, "duplicate"),)})
    assert pairs(chart(region)) == {(0, 1), (2, 1)}


def test_quantised_copies_of_a_merge_share_its_parents():
    quantized = np.array([False, False, True, True])
    region = region_of(line(0, 4, 2, 2), is_quantized=quantized, known_parents={2: ((0, "merge"), (1, "merge")), 1: ()})
    assert pairs(chart(region)) == {(2, 0), (2, 1), (3, 0), (3, 1)}


def test_region_of_quantised_models_only_keeps_its_copies():
    region = region_of(line(0, 1, 0), is_quantized=np.ones(3, dtype=bool))
    edges = chart(region)
    assert pairs(edges) == {(2, 0)}
    assert edges[0].relation == "duplicate"


def test_one_model_no_model_and_copies_only():
    assert chart(region_of(line(0))) == ()
    assert chart(region_of(np.zeros((0, 2)))) == ()
    copies = chart(region_of(line(0, 0, 0, 0), days=[3, 1, 2, 4]))
    assert pairs(copies) == {(0, 1), (2, 1), (3, 1)}
    assert all(edge.evidence.scaled_distance is None and not edge.is_ambiguous for edge in copies)


def test_equal_dates_are_ordered_by_id_and_called_ambiguous():
    edges = chart(region_of(line(0, 1, 5), days=[2, 2, 3]))
    assert pairs(edges) == {(1, 0), (2, 1)}
    assert [edge.is_ambiguous for edge in edges] == [True, False]


def test_unknown_dates_come_last_and_measure_no_time():
    edges = chart(region_of(line(0, 1, 2), days=[NAN, 5, NAN]))
    assert pairs(edges) == {(0, 1), (2, 1)}
    assert all(edge.is_ambiguous and edge.evidence.days_apart is None for edge in edges)
    # No spans, no pattern: the nearest is taken, whatever the spread.
    many = chart(region_of(line(0, 1, 2, 3, 4, 5), days=[NAN] * 6), spread_threshold=np.inf)
    assert set(rules(many).values()) == {"nearest"}


def test_floor_date_orders_a_model_but_measures_no_time():
    edges = chart(region_of(line(0, 1, 5), created_at_is_floor=np.array([True, False, False])))
    assert pairs(edges) == {(1, 0), (2, 1)}
    assert [edge.evidence.days_apart for edge in edges] == [None, 1.0]
    assert not any(edge.is_ambiguous for edge in edges)


def test_checkpoints_pushed_at_once_do_not_correlate_with_time():
    region = region_of(line(0, 1, 2.5, 4.5, 7), days=[1, 1, 1, 1, 1])
    patterns = find_patterns(region, can_be_parent=np.ones(5, dtype=bool))
    assert np.isnan(patterns.correlation).all()
    assert patterns.has_time_spans.all()
    assert set(rules(chart(region, spread_threshold=np.inf)).values()) == {"fan"}


def test_scaled_spread_does_not_depend_on_the_size_of_the_weights_and_raw_does():
    population = Population(seed=6)
    base = population.base()
    for child in population.fan(base, size=6):
        population.snake(child, length=2)
    vectors = np.array(population.vectors, dtype=np.float64)

    def charted(factor, unit):
        return rules(chart(region_of(factor * vectors), spread_unit=unit))

    # A power of two changes no digit, only exponents.
    assert charted(1 / 64, "scaled") == charted(64.0, "scaled")
    assert set(charted(64.0, "raw").values()) == {"nearest"}
    assert "fan" in charted(1 / 64, "raw").values()


def test_confidence_follows_the_margin():
    clear, close = (
        next(edge for edge in chart(region_of(line(0, 10, 5 + shift))) if edge.child_id == "org/m002")
        for shift in (4, 0.1)
    )
    assert (clear.parent_id, close.parent_id) == ("org/m001", "org/m001")
    assert clear.confidence > close.confidence
    assert (clear.is_ambiguous, close.is_ambiguous) == (False, True)
    assert close.evidence.candidates == ("org/m001", "org/m000")


def test_arguments_out_of_range_are_refused():
    region = region_of(line(0, 1))
    with pytest.raises(ValueError, match="n_neighbors"):
        chart(region, n_neighbors=0)
    with pytest.raises(ValueError, match="snake_percentile"):
        chart(region, snake_percentile=101)


@st.composite
def regions(draw, *, is_plain=False):
    """Regions of whole-number vectors, full of ties, copies, unknown dates and contradicting documentation."""
    n = draw(st.integers(0 if not is_plain else 2, 14))
    flags = st.lists(st.booleans(), min_size=n, max_size=n)

    def column(values):
        return draw(st.lists(values, min_size=n, max_size=n))

    width = 6 if is_plain else 2
    vectors = np.array(column(st.tuples(*[st.integers(-9 if is_plain else -2, 9)] * width)), dtype=np.float32)
    if is_plain:
        return region_of(vectors, days=column(st.integers(0, 30)), is_quantized=np.array(draw(flags), dtype=bool))
    relations = st.sampled_from(["finetune", "merge", "duplicate", "quantized"])
    known = {}
    if n > 1:
        for child in draw(st.sets(st.integers(0, n - 1), max_size=n)):
            others = draw(st.sets(st.integers(0, n - 1).filter(lambda row, child=child: row != child), max_size=2))
            known[child] = tuple((parent, draw(relations)) for parent in sorted(others))
    return region_of(
        vectors.reshape(n, width),
        days=column(st.one_of(st.integers(0, 6), st.just(NAN))),
        clusters=np.where(vectors.reshape(n, width)[:, 0] > 1, 1, 0),
        created_at_is_floor=np.array(draw(flags), dtype=bool),
        is_quantized=np.array(draw(flags), dtype=bool),
        is_adapter=np.array(draw(flags), dtype=bool),
        content_sha256=tuple(column(st.sampled_from([None, None, "aa", "bb", "cc"]))),
        known_parents=known,
    )


@settings(max_examples=150, deadline=None)
@given(region=regions(), unit=st.sampled_from(["scaled", "raw"]), k=st.integers(1, 6))
def test_any_region_gives_an_acyclic_graph_of_its_own_models(region, unit, k):
    edges = chart(region, n_neighbors=k, spread_unit=unit)
    graph = nx.DiGraph((edge.parent_id, edge.child_id) for edge in edges)
    assert nx.is_directed_acyclic_graph(graph)
    assert graph.number_of_edges() == len(edges)
    assert set(graph) <= set(region.model_ids)
    assert all(0 <= edge.confidence <= 1 for edge in edges)
    documented = {region.model_ids[row] for row in region.known_parents}
    assert all((edge.origin == "documented") == (edge.child_id in documented) for edge in edges)
    charted = [edge for edge in edges if edge.rule not in ("known", "duplicate")]
    assert len({edge.child_id for edge in charted}) == len(charted)
    quantized = {region.model_ids[row] for row in np.flatnonzero(region.is_quantized)}
    assert not quantized & {edge.parent_id for edge in charted}
    assert edges_table(edges).num_rows == len(edges)


@settings(max_examples=100, deadline=None)
@given(region=regions(), data=st.data())
def test_order_of_the_models_does_not_matter(region, data):
    order = np.array(data.draw(st.permutations(range(region.n_models))), dtype=np.int64)
    assert chart(shuffled(region, order)) == chart(region)


def slow_chart(region, *, k, threshold, percentile):
    """The resolved rules, one model at a time, for a region without copies and documentation."""
    n = region.n_models
    order = sorted(range(n), key=lambda row: (region.created_at[row], region.model_ids[row]))
    place = {row: position for position, row in enumerate(order)}
    distance = region.squared_distances
    scale = np.median([min(distance[i, j] for j in range(n) if j != i) for i in range(n)])
    near, correlation = {}, {}
    for i in range(n):
        ranked = sorted((j for j in range(n) if j != i and not region.is_quantized[j]),
                        key=lambda j: (distance[i, j], place[j]))  # fmt: skip
        near[i] = ranked
        d = [distance[i, j] for j in ranked[:k]]
        t = [abs(region.created_at[j] - region.created_at[i]) for j in ranked[:k]]
        if len(d) >= 3 and len(set(d)) > 1 and len(set(t)) > 1:
            correlation[i] = np.corrcoef(d, t)[0, 1]
    pool = [r for i, r in correlation.items() if not region.is_quantized[i]]
    rho = np.percentile(pool, percentile) if pool else np.inf
    edges = set()
    for i in range(n):
        earlier = [j for j in near[i] if place[j] < place[i]][:k]
        if not earlier:
            continue
        d = [distance[i, j] for j in near[i][:k]]
        is_narrow = len(d) >= 3 and (d[-1] - d[0]) / scale <= threshold
        # A correlation that ties with the threshold is decided by the last digit of either sum.
        if is_narrow and i in correlation and abs(correlation[i] - rho) < 1e-9:
            return None
        is_fan = is_narrow and not correlation.get(i, -np.inf) > rho
        parent = min(earlier, key=place.get) if is_fan and not region.is_quantized[i] else earlier[0]
        edges.add((i, parent))
    return edges


@settings(max_examples=150, deadline=None)
@given(region=regions(is_plain=True), k=st.integers(1, 6), threshold=st.sampled_from([0.7, 1.3, 4.1]))
def test_a_slow_reading_of_the_rules_agrees(region, k, threshold):
    if (np.unique(region.vectors, axis=0).shape[0]) < region.n_models:
        return
    expected = slow_chart(region, k=k, threshold=threshold, percentile=55)
    if expected is not None:
        edges = chart(region, n_neighbors=k, spread_threshold=threshold, snake_percentile=55)
        assert pairs(edges) == expected


def test_edges_lie_out_in_the_columns_of_the_table():
    edges = chart(region_of(line(0, 1, 1, 30, 31, 33)))
    rows = edges_table(edges).to_pylist()
    assert [row["child_id"] for row in rows] == sorted(row["child_id"] for row in rows)
    assert rows[0]["evidence"]["candidates"] == ["org/m000"]
    assert rows[0]["coefficient"] is None
    assert edges_table([]).num_rows == 0
    assert set(Edge.__dataclass_fields__) == set(edges_table([]).column_names)
