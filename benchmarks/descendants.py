"""Distinct-descendant sums: exact on random graphs against a walk from every node, and timed on a graph of any size.

python -m benchmarks.descendants --models 3000000 --edges 1200000
"""

from __future__ import annotations

import argparse
import resource
import time

import networkx as nx
import numpy as np

from atlas_pipeline.graph import EdgeList, descendant_totals, longest_depth, path_counted_totals
from benchmarks.hub import lineage


def graph_of_any_size(models: int, edges: int, *, seed: int) -> EdgeList:
    """A drawn lineage with further parents for random children until it has so many edges."""
    drawn = lineage(models, seed=seed)
    parent, child = drawn["parent"].to_numpy(), drawn["child"].to_numpy()
    random = np.random.default_rng(seed)
    further = child[random.integers(0, len(child), max(edges - len(child), 0))]
    older = (random.random(len(further)) * further).astype(np.int64)
    return EdgeList(models, np.concatenate((parent, older))[:edges], np.concatenate((child, further))[:edges])


def merge_heavy(models: int, *, seed: int) -> EdgeList:
    """Every model made from two to four of the two hundred before it: more paths than any number can hold."""
    random = np.random.default_rng(seed)
    child = np.repeat(np.arange(1, models), random.integers(2, 5, models - 1))
    parent = np.maximum(child - random.integers(1, 201, len(child)), 0)
    return EdgeList(models, parent, child)


def mismatches(graphs: int, *, seed: int) -> int:
    """Nodes of small random DAGs whose totals differ from those of a walk over the descendants of each."""
    random = np.random.default_rng(seed)
    wrong = 0
    for _ in range(graphs):
        n = int(random.integers(2, 80))
        ends = np.sort(random.integers(0, n, (int(random.integers(1, 4 * n)), 2)), axis=1)
        ends = ends[ends[:, 0] != ends[:, 1]]
        amount = random.integers(0, 1000, n)
        count, total = descendant_totals(EdgeList(n, ends[:, 0].copy(), ends[:, 1].copy()), amount)
        walked = nx.DiGraph(ends.tolist())
        walked.add_nodes_from(range(n))
        for node in range(n):
            below = nx.descendants(walked, node)
            wrong += (count[node], total[node]) != (len(below), sum(int(amount[d]) for d in below))
    return wrong


def timed(name: str, graph: EdgeList) -> None:
    """Print how long the sums of a graph take."""
    amount = np.random.default_rng(0).integers(0, 1000, graph.n_nodes)
    start = time.perf_counter()
    count, total = descendant_totals(graph, amount)
    seconds = time.perf_counter() - start
    inflated = path_counted_totals(graph, amount).max() / max(total.max(), 1)
    print(
        f"{name}: {graph.n_nodes:,} models, {graph.n_edges:,} edges, depth {longest_depth(graph).max()}, "
        f"{count.sum():,} pairs: {seconds:.2f} s; counting paths inflates the greatest sum {inflated:.3g} times; "
        f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB"
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=3_000_000)
    parser.add_argument("--edges", type=int, default=1_200_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print(f"wrong on 200 random DAGs: {mismatches(200, seed=given.seed)} nodes")
    timed("drawn hub", graph_of_any_size(given.models, given.edges, seed=given.seed))
    timed("merges of merges", merge_heavy(10_000, seed=given.seed))


if __name__ == "__main__":
    main()
