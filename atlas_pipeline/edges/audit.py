"""Declared parents against measured ones: does a model's documentation say what its weights say?

Here belongs the verdict on each declared edge. What models are to each other belongs to ``audit_lineage``, words to
``audit_text``.

The measured edges must have been charted without a look at the documentation. A verdict weighs both: a card names the
right parent more often than not (``DECLARED_IS_RIGHT``), so one doubtful measurement never contradicts it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from atlas_pipeline.edges.audit_lineage import Apart, MeasuredLineage, Place, distances, places, proofs
from atlas_pipeline.edges.audit_records import VERDICTS, AuditedEdge, Declaration
from atlas_pipeline.edges.audit_text import Case, explanation, message
from atlas_pipeline.edges.records import Edge
from atlas_pipeline.edges.region import Region

DECLARED_IS_RIGHT: Final = 0.95
"""How often documentation names the right parent, before the weights are looked at. Cards are copied and base models
mistyped, but most are right."""

CONTRADICTION: Final = 0.8
"""A declared parent must be so likely to be wrong before an author is told."""

UNRELATED_DISTANCE: Final = 0.8
"""Relative squared distance beyond which models of different weight clusters share nothing: independent ones lie near
1. Between the threshold of kin and this, nothing is said."""

SURE: Final = 0.99
"""Confidence in what is plain: weights that share nothing, and files that are stored otherwise than declared."""

SUGGESTION: Final = 0.5
"""A measured parent must be so sure to be proposed in place of a declared one that is wrong."""

PARENT_STANDS: Final = frozenset({"wrong_relation", "missing_merge_parents"})
"""Contradictions that leave the declared parent as it is."""

FULL_FORMATS: Final = frozenset({"safetensors", "gguf", "pytorch"})
"""Formats of whole weights."""

OTHER_SHAPES: Final = 0.95
"""Confidence that a model does not come from one of other shapes, where relatives of its own shapes were found."""

OUTSIDE_GROUP: Final = 0.3
"""What being outside the measurement's group of candidates leaves of a declared parent's likelihood: such a group holds
the parent in some 95 % of cases, but the exceptions gather where the measurement is wrong anyway."""

WITHOUT_TIME: Final = frozenset({"cast", "quantized", "pruned", "merge", "ties"})
"""Rules whose direction is in the weights: a date the wrong way round says nothing against such an edge."""


def audit(declared: Sequence[Declaration], measured: Iterable[Edge], regions: Sequence[Region]) -> list[AuditedEdge]:
    """Judge every declared edge by what was measured without looking at the documentation.

    A declared parent that is the measured one agrees even where the measurement was ambiguous: the declaration is a
    second witness that knew nothing of the first, and it decides between the candidates. A declared parent that is
    only another candidate of an ambiguous measurement stays undecided: geometry cannot tell the candidates apart, so
    it neither confirms nor contradicts. A twin of the measured parent (a copy, a cast, a quantisation) agrees.

    Args:
        declared: documented edges, each child with all its declared parents.
        measured: edges charted with all documentation hidden, of all vector groups, without cycles.
        regions: the vector groups; distances between models of one of them are measured.

    Returns:
        One row for each declared edge, in the given order.
    """
    lineage = MeasuredLineage(measured)
    pairs = {(d.child_id, d.parent_id) for d in declared}
    pairs |= {(d.child_id, edge.parent_id) for d in declared for edge in lineage.edges_of.get(d.child_id, ())}
    asked = {
        (d.child_id, d.parent_id): d.child_is_quantized or d.relation == "quantized"
        for d in declared
        if d.relation in ("finetune", "merge", "quantized")
        and not (d.relation == "quantized" and d.child_is_quantized and lineage.is_parent(d.child_id, d.parent_id))
    }
    proven = proofs(regions, asked)
    return _Judge(lineage, distances(regions, pairs), proven, places(regions), declared).rows(declared)


@dataclass(frozen=True)
class _Opinion:
    """A finding on one declared edge, how sure, and what to note of it."""

    finding: str
    confidence: float | None = None
    note: str | None = None
    relation: str | None = None


class _Judge:
    def __init__(
        self,
        lineage: MeasuredLineage,
        apart: Mapping[tuple[str, str], Apart],
        proven: Mapping[tuple[str, str], str],
        place: Mapping[str, Place],
        declared: Sequence[Declaration],
    ) -> None:
        self._lineage = lineage
        self._apart = apart
        self._proven = proven
        self._place = place
        self._children_of_link: dict[tuple[Place | None, Place | None], set[str]] = defaultdict(set)
        for each in declared:
            self._children_of_link[self._link(each)].add(each.child_id)
        self._declared_parents: dict[str, list[str]] = defaultdict(list)
        for each in declared:
            self._declared_parents[each.child_id].append(each.parent_id)

    def rows(self, declared: Sequence[Declaration]) -> list[AuditedEdge]:
        cases = [self._case(each, self._opinion(each)) for each in declared]
        of_child: dict[str, list[Case]] = defaultdict(list)
        for case in cases:
            of_child[case.child_id].append(case)
        return [
            self._row(each, replace(case, suggested_parents=self._suggested(of_child[case.child_id])))
            for each, case in zip(declared, cases, strict=True)
        ]

    def _opinion(self, given: Declaration) -> _Opinion:
        """Find out what is to be said of a declared edge: of its parent first, then of its relation."""
        opinion = self._of_parent(given)
        if VERDICTS[opinion.finding] == "contradicts":
            return opinion
        stored = _stored_relation(given)
        if stored is not None:
            return _Opinion("wrong_relation", SURE, note="stored", relation=stored)
        return self._of_relation(given) or opinion

    def _of_parent(self, given: Declaration) -> _Opinion:
        for end, status in (("child", given.child_status), ("parent", given.parent_status)):
            if status != "ok":
                return _Opinion("not_comparable", note=f"{end} {status or 'not sampled'}")
        if given.child_format == "adapter":
            # Its sampled weights are the base with the change added: whatever base was declared would be confirmed.
            return _Opinion("not_comparable", note="adapter")
        edges = self._lineage.edges_of.get(given.child_id, ())
        if self._lineage.is_parent(given.child_id, given.parent_id):
            return self._of_confirmed(given, edges)
        if given.child_id in self._lineage.ancestors(given.parent_id):
            return self._of_reversed(given)
        acquitted = self._acquitted(given, edges)
        if acquitted is not None:
            return acquitted
        if _shapes(given.child_group) != _shapes(given.parent_group):
            return self._of_other_shapes(given, edges)
        apart = self._apart.get((given.child_id, given.parent_id))
        if apart is not None and not apart.are_kin:
            is_far = apart.relative >= UNRELATED_DISTANCE
            return _Opinion("unrelated_weights", SURE) if is_far else _Opinion("ambiguous", note="far")
        return self._of_another(given, edges)

    def _of_confirmed(self, given: Declaration, edges: Sequence[Edge]) -> _Opinion:
        """The declared parent is a measured one; what remains is the relation, and parents that are not named."""
        confidence = min(edge.confidence for edge in edges)
        missing = self._not_declared(given.child_id, edges)
        is_wrong = _probability_wrong(confidence, 1.0)
        if len(edges) > 1 and missing and is_wrong >= CONTRADICTION:
            return _Opinion("missing_merge_parents", is_wrong, relation="merge")
        is_right = _probability_right(confidence)
        note = "older" if given.days_apart is not None and given.days_apart < 0 else None
        return _Opinion("parent_confirmed", is_right, note=note)

    def _of_relation(self, given: Declaration) -> _Opinion | None:
        """The weights exclude the declared relation, whether or not the declared parent was measured.

        Equal neurons do not make a copy of what is called a fine-tune: training may have left all but the head alone.
        So only equal files make a copy, and a cast has tensors of the same names and shapes.
        """
        edges = self._lineage.edges_of.get(given.child_id, ())
        if given.child_sha256 is not None and given.child_sha256 == given.parent_sha256:
            is_copy = given.relation in ("finetune", "quantized", "merge")
            return _Opinion("wrong_relation", SURE, relation="duplicate") if is_copy else None
        proof = self._proven.get((given.child_id, given.parent_id))
        if given.relation in ("finetune", "merge"):
            if proof == "quantized" and given.child_is_quantized:
                return _Opinion("wrong_relation", SURE, relation="quantized")
            has_equal_shapes = given.child_shapes is not None and given.child_shapes == given.parent_shapes
            if proof == "cast" and has_equal_shapes and not given.child_is_quantized:
                return _Opinion("wrong_relation", SURE, note="cast", relation="quantized")
            return None
        relation = edges[0].relation if len(edges) == 1 else "merge" if edges else None
        is_right = _probability_right(min((edge.confidence for edge in edges), default=0.0))
        if relation not in ("finetune", "merge") or proof in ("cast", "quantized") or is_right < CONTRADICTION:
            return None
        is_near = (given.child_id, given.parent_id) in self._apart and not self._is_equal(given)
        is_full = not given.child_is_quantized and not given.child_has_hidden_quantization
        if given.relation == "quantized" and is_full and given.child_format != "gguf" and is_near:
            return _Opinion("wrong_relation", is_right, relation=relation)
        if given.relation == "duplicate" and is_near:
            return _Opinion("wrong_relation", is_right, relation=relation)
        return None

    def _is_equal(self, given: Declaration) -> bool:
        return self._apart[given.child_id, given.parent_id].squared == 0

    def _of_other_shapes(self, given: Declaration, edges: Sequence[Edge]) -> _Opinion:
        """The declared parent has other matrices than the child.

        Training and quantisation keep the matrices. What changes them (merges that stack layers, pruning of whole
        rows, a file format that packs several into one) is left undecided: where the relation is a merge, where formats
        differ, and where another model of the child's weight cluster declares a parent of the same kind.
        """
        confidence = min((edge.confidence for edge in edges), default=0.0)
        could_change = given.relation in ("merge", "duplicate", "adapter") or "gguf" in (
            {given.child_format} ^ {given.parent_format}
        )
        link = self._link(given)
        if None in link or could_change or confidence < SUGGESTION or self._children_of_link[link] - {given.child_id}:
            return _Opinion("not_comparable", note="shapes")
        return _Opinion("unrelated_weights", OTHER_SHAPES, note="shapes")

    def _link(self, given: Declaration) -> tuple[Place | None, Place | None]:
        return self._place.get(given.child_id), self._place.get(given.parent_id)

    def _of_reversed(self, given: Declaration) -> _Opinion:
        """The declared parent was measured to come from the child."""
        confidence = self._lineage.ancestors(given.parent_id)[given.child_id][1]
        first = self._lineage.edges_of[given.parent_id]
        knows = all(edge.rule in WITHOUT_TIME for edge in first)
        if given.days_apart is not None and given.days_apart < 0 and not knows:
            return _Opinion("child_older_than_parent", note="reversed")
        is_wrong = _probability_wrong(confidence, 1.0)
        if is_wrong < CONTRADICTION or any(edge.is_ambiguous for edge in first):
            return _Opinion("ambiguous", note="direction")
        return _Opinion("descendant_declared", is_wrong)

    def _acquitted(self, given: Declaration, edges: Sequence[Edge]) -> _Opinion | None:
        """The declared parent is not the measured one, but as good as that."""
        lineage, confidence = self._lineage, min((edge.confidence for edge in edges), default=0.0)
        if any(lineage.are_twins(given.parent_id, edge.parent_id) for edge in edges):
            return _Opinion("parent_confirmed", _probability_right(confidence), note="twin")
        for copy in lineage.copies(given.child_id):
            of_copy = lineage.edges_of.get(copy, ())
            if given.parent_id in {edge.parent_id for edge in of_copy}:
                return _Opinion("parent_confirmed", _probability_right(min(e.confidence for e in of_copy)), note="copy")
        if given.is_merge_base and edges and lineage.descends(given.child_id, given.parent_id):
            return _Opinion("parent_confirmed", _probability_right(confidence), note="base")
        return None

    def _of_another(self, given: Declaration, edges: Sequence[Edge]) -> _Opinion:
        """Another model was measured to be the parent, or none."""
        if not edges:
            is_older = given.days_apart is not None and given.days_apart < 0
            return _Opinion("child_older_than_parent" if is_older else "ambiguous", note="source")
        relation = edges[0].relation if len(edges) == 1 else "merge"
        knows = all(edge.rule in WITHOUT_TIME for edge in edges)
        if given.days_apart is not None and given.days_apart < 0 and not knows:
            return _Opinion("child_older_than_parent", note="untried")
        if given.relation == "merge" and relation not in ("merge", "quantized", "duplicate"):
            # A parent with a small share, or one of a merge by votes, can go unseen.
            return _Opinion("ambiguous", note="merge")
        if any(edge.is_ambiguous and given.parent_id in (edge.evidence.candidates or ()) for edge in edges):
            return _Opinion("ambiguous", note="candidate")
        is_ancestor = self._lineage.descends(given.child_id, given.parent_id)
        if is_ancestor and given.relation == "merge" and relation == "merge":
            return _Opinion("ambiguous", note="base")
        is_wrong = _probability_wrong(min(edge.confidence for edge in edges), self._likeness(given, edges))
        if is_wrong < CONTRADICTION:
            return _Opinion("ambiguous", note="weak")
        if is_ancestor:
            return _Opinion("ancestor_not_parent", is_wrong)
        if relation == "quantized" and given.child_is_quantized:
            return _Opinion("quantization_of_other", is_wrong)
        if self._lineage.are_siblings(given.child_id, given.parent_id):
            return _Opinion("sibling_declared", is_wrong)
        return _Opinion("other_parent", is_wrong)

    def _likeness(self, given: Declaration, edges: Sequence[Edge]) -> float:
        """How well the declared parent does beside the measured ones: 1 for as well, 0 for not at all.

        It loses by a greater squared distance, and where the measurement tried it, if it is near, and left it out of
        its candidates. A measured parent that comes from the declared one can be a sibling instead, and siblings of one
        sweep lie much nearer to each other than to their parent: there only a proof counts. Of two parents that differ
        by little, a quantisation can fit both.
        """
        if (given.child_id, given.parent_id) in self._proven:
            return 1.0
        grandparents = {above.parent_id for edge in edges for above in self._lineage.edges_of.get(edge.parent_id, ())}
        is_proven = all(edge.evidence.fit_share is not None for edge in edges)
        if not is_proven and any(self._lineage.are_twins(given.parent_id, name) for name in grandparents):
            return 1.0
        groups = [edge.evidence.candidates for edge in edges]
        is_outside = all(groups) and not any(given.parent_id in group for group in groups if group)
        declared = self._apart.get((given.child_id, given.parent_id))
        measured = self._nearest(given.child_id, edges)
        nearness = measured.squared / declared.squared if declared and measured and declared.squared > 0 else 1.0
        return nearness * (OUTSIDE_GROUP if is_outside else 1.0)

    def _nearest(self, child_id: str, edges: Sequence[Edge]) -> Apart | None:
        known = [self._apart[child_id, e.parent_id] for e in edges if (child_id, e.parent_id) in self._apart]
        return min(known, key=lambda apart: apart.squared, default=None)

    def _not_declared(self, child_id: str, edges: Sequence[Edge]) -> list[str]:
        declared = self._declared_parents[child_id]
        return [
            edge.parent_id
            for edge in edges
            if not any(self._lineage.are_twins(edge.parent_id, parent_id) for parent_id in declared)
        ]

    def _case(self, given: Declaration, opinion: _Opinion) -> Case:
        edges = self._lineage.edges_of.get(given.child_id, ())
        relation = opinion.relation or (None if not edges else edges[0].relation if len(edges) == 1 else "merge")
        return Case(
            child_id=given.child_id,
            parent_id=given.parent_id,
            relation=given.relation,
            sources=given.sources,
            days_apart=given.days_apart,
            base_id=given.child_base_id,
            verdict=VERDICTS[opinion.finding],
            finding=opinion.finding,
            note=opinion.note,
            confidence=opinion.confidence,
            measured_parents=tuple(edge.parent_id for edge in edges),
            measured_relation=relation,
            measured_confidence=min((edge.confidence for edge in edges), default=None),
            measured_source=self._lineage.source(given.child_id),
            declared_apart=self._apart.get((given.child_id, given.parent_id)),
            measured_apart=self._nearest(given.child_id, edges),
        )

    def _suggested(self, cases: Sequence[Case]) -> tuple[str, ...]:
        """Parents that a child's front matter should name: those declared that stand, and those that were measured."""
        kept = tuple(c.parent_id for c in cases if c.verdict != "contradicts" or c.finding in PARENT_STANDS)
        is_wrong = any(case.verdict == "contradicts" and case.finding != "wrong_relation" for case in cases)
        if not is_wrong or (cases[0].measured_confidence or 0.0) < SUGGESTION:
            return kept
        found = cases[0].measured_parents
        return (*kept, *(name for name in found if not any(self._lineage.are_twins(name, one) for one in kept)))

    def _row(self, given: Declaration, case: Case) -> AuditedEdge:
        declared, measured = case.declared_apart, case.measured_apart
        return AuditedEdge(
            child_id=given.child_id,
            parent_id=given.parent_id,
            region_id=given.region_id,
            declared_relation=given.relation,
            declared_sources=given.sources,
            verdict=VERDICTS[case.finding],
            finding=case.finding,
            confidence=case.confidence,
            measured_parent_ids=case.measured_parents,
            measured_relation=case.measured_relation,
            declared_squared_distance=declared.squared if declared else None,
            declared_relative_distance=declared.relative if declared else None,
            measured_squared_distance=measured.squared if measured else None,
            measured_relative_distance=measured.relative if measured else None,
            explanation=explanation(case),
            message=message(case) if case.verdict == "contradicts" else None,
        )


def _probability_wrong(confidence: float, likeness: float) -> float:
    """How likely the declared parent is wrong where another one was measured with a confidence, 0 to 1.

    What the measurement leaves open goes to the declared parent, times its likeness; then the two
    witnesses are weighed by Bayes' rule.
    """
    declared = min(1.0, (1.0 - confidence) * likeness)
    wrong, right = (1.0 - DECLARED_IS_RIGHT) * (1.0 - declared), DECLARED_IS_RIGHT * declared
    return wrong / (wrong + right) if wrong + right > 0 else 0.0


def _probability_right(confidence: float) -> float:
    """How likely the declared parent is right where the same one was measured with a confidence, 0 to 1."""
    right, wrong = DECLARED_IS_RIGHT * confidence, (1.0 - DECLARED_IS_RIGHT) * (1.0 - confidence)
    return right / (wrong + right)


def _shapes(group: str | None) -> str | None:
    """The shape signature of a vector group; models that gave few neurons have the same under another name."""
    return group.removesuffix("-anchors") if group is not None else None


def _stored_relation(given: Declaration) -> str | None:
    """The relation that the files show where they are not of the declared kind; None where they can be."""
    if given.child_status != "ok":
        return None
    is_adapter = given.child_format == "adapter"
    if is_adapter and given.relation in ("finetune", "quantized"):
        return "adapter"
    if given.child_format in FULL_FORMATS and given.relation == "adapter":
        return "quantized" if given.child_is_quantized else "finetune"
    return None
