"""A region charted before has new models: they find their parents, and what was charted stays.

Here belongs what of a charted region is settled. How a parent is found belongs to ``method`` and what it calls.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.edges.charting.deciding import decide
from atlas_pipeline.edges.charting.method import Findings, Work
from atlas_pipeline.edges.charting.proofs import Proof
from atlas_pipeline.edges.charting.writing import write_edges
from atlas_pipeline.edges.records import Edge, Evidence, without_cycles
from atlas_pipeline.edges.region import Region

Parents = dict[int, tuple[tuple[int, str], ...]]


def chart_arrivals(region: Region, known: Sequence[Edge], charted_ids: Collection[str]) -> tuple[Edge, ...]:
    """Chart the new models of a region against its atlas, as the method ``evidence`` does.

    The old models count as documented: those with edges keep them, sources stay sources, none is decided again. What
    is measured of each new model is measured against that tree, so the time taken grows with the new models; the old
    ones cost one look at their vectors and neighbours. Documented parents of new models stay documented.

    Evidence about a child and its parents alone (copies, casts, pruned and quantised models, adapters, merges, links
    of a chain) gives the edges that charting from scratch gives. The answer can differ where a new model says something
    about old ones, because these keep their parents:

    - its siblings show that an old model, so far the parent of another, is a member of a fan, or that it is not;
    - it is older than a model that was made from it, or fills a gap in a chain;
    - an old model was the nearest parent to be had, and the true one arrives only now.

    The decision about a new model rests on the settled tree where charting from scratch weighs that too, so confidence
    and ``probability`` may differ a little, and with them the parent of a new member of a fan.

    Args:
        region: all models, old and new, with their documented parents. Those of old models are not looked at.
        known: the atlas as it was charted; edges whose ends are not in the region are passed over.
        charted_ids: the models that it was charted of, sources too. A child of `known` counts among them.

    Returns:
        The edges of the new models, without cycles among them and `known`, sorted by child and parent.
    """
    old_ids = {*charted_ids, *(edge.child_id for edge in known)}
    is_new = np.array([model_id not in old_ids for model_id in region.model_ids], dtype=bool)
    if not is_new.any():
        return ()
    settled = _settled(region, known, is_new)
    work = Work(settled)
    found = work.proofs()
    first = decide(work.evidence, work.believed(found), work.open_rows(found))
    found.merges.update(work.merges(_with_casts(found, region, known), first.forest))
    last = decide(work.evidence, work.believed(found, first.forest), work.open_rows(found), before=first.forest)
    written = write_edges(_written(settled, work, is_new), work.duplicates, found, last)
    new_ids = {region.model_ids[row] for row in np.flatnonzero(is_new).tolist()}
    return without_closing(known, [edge for edge in written if edge.child_id in new_ids])


def without_closing(known: Sequence[Edge], new: Sequence[Edge]) -> tuple[Edge, ...]:
    """Drop new edges, the least certain first, until none closes a cycle with known ones, which all stay.

    Args:
        known: edges without cycles.
        new: edges of other children.

    Returns:
        The new edges kept, sorted by child and parent.
    """
    fixed = [replace(edge, origin="documented", confidence=np.inf, evidence=Evidence()) for edge in known]
    children = {edge.child_id for edge in new}
    return tuple(edge for edge in without_cycles([*fixed, *new]) if edge.child_id in children)


def _settled(region: Region, known: Sequence[Edge], is_new: NDArray[np.bool_]) -> Region:
    """The region with the atlas as its documentation: the parents of old models, none for old sources."""
    row_of = {model_id: row for row, model_id in enumerate(region.model_ids)}
    parents: Parents = dict.fromkeys(np.flatnonzero(~is_new).tolist(), ())
    # The parent with the greatest coefficient is the one that the tree of single parents holds.
    for edge in sorted(known, key=lambda e: (e.child_id, -(e.coefficient or 0.0))):
        child, parent = row_of.get(edge.child_id), row_of.get(edge.parent_id)
        if child is not None and parent is not None:
            parents[child] = (*parents[child], (parent, edge.relation))
    parents.update({child: given for child, given in region.known_parents.items() if is_new[child]})
    return replace(region, known_parents=parents)


def _with_casts(found: Findings, region: Region, known: Sequence[Edge]) -> Findings:
    """What is found, and the casts among the old models: they are no parents of merges."""
    row_of = {model_id: row for row, model_id in enumerate(region.model_ids)}
    casts = {
        row_of[edge.child_id]: Proof(parent=row_of[edge.parent_id], rule="cast", share=1.0)
        for edge in known
        if edge.rule == "cast" and edge.child_id in row_of and edge.parent_id in row_of
    }
    return Findings({**casts, **found.proofs}, found.adapters, found.merges)


def _written(settled: Region, work: Work, is_new: NDArray[np.bool_]) -> Region:
    """The settled region without the edges that nobody asks for, which would all be measured again."""
    # A second quantisation gets the parents of the first, which may be old.
    is_asked = is_new.copy()
    is_asked[work.duplicates.representative[is_new]] = True
    return replace(
        settled,
        known_parents={row: given if is_asked[row] else () for row, given in settled.known_parents.items()},
    )
