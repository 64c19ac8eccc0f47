"""What each piece of evidence adds: the method that makes the atlas, and the same without one of its pieces.

python -m benchmarks.pieces HOME=TRUTH [HOME=TRUTH ...]

Counts undocumented models that have a parent in their group and are no copies: the share whose parents are exactly the
true ones, by kind of edge, in per cent. Documented parents are given. Figures are means over homes, with the standard
deviation where there are several.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from atlas_pipeline.edges.charting.deciding import decide
from atlas_pipeline.edges.charting.forest import Forest
from atlas_pipeline.edges.charting.method import Findings, Work
from benchmarks.figures import Home, print_table, spread

ALL: Final = "all"


@dataclass(frozen=True)
class Pieces:
    """Which pieces of evidence are used.

    Attributes:
        proofs: casts, pruning, levels of quantisers.
        merges: several parents at once.
        inheritance: the ensembles; without them the nearest earlier model is the parent.
    """

    proofs: bool = True
    merges: bool = True
    inheritance: bool = True

    def parents(self, work: Work) -> list[set[int]]:
        """Rows of the parents of every model of a region, by these pieces only."""
        found = work.proofs() if self.proofs else Findings(adapters=work.proofs().adapters)
        forest = self._forest(work, found, work.believed(found))
        if self.merges:
            found.merges.update(work.merges(found, forest))
            forest = self._forest(work, found, work.believed(found, forest), before=forest)
        single = [{parent} - {-1} for parent in forest.parent.tolist()]
        return [set(found.merges[row].parents) if row in found.merges else each for row, each in enumerate(single)]

    def _forest(self, work: Work, found: Findings, believed: np.ndarray, *, before: Forest | None = None) -> Forest:
        if not self.inheritance:
            return Forest(believed)
        return decide(work.evidence, believed, work.open_rows(found), before=before).forest


PIECES: Final = {"evidence": Pieces()} | {
    f"without {name}": replace(Pieces(), **{name: False}) for name in ("proofs", "merges", "inheritance")
}


def scored(home: Home, pieces: Pieces) -> dict[str, float]:
    """Share of models whose parents are exactly right, in per cent, by kind of edge and of all."""
    true, kinds = defaultdict(set), {}
    for edge in home.truth:
        true[edge.child_id].add(edge.parent_id)
        kinds[edge.child_id] = edge.pattern
    right: dict[str, list[bool]] = defaultdict(list)
    for place in (place for group in home.partitions for place in group):
        region, work = place.region, Work(place.region)
        for row, parents in enumerate(pieces.parents(work)):
            model_id = region.model_ids[row]
            wanted = true[model_id] & set(region.model_ids)
            if wanted and not region.is_documented[row] and not work.duplicates.is_copy[row]:
                is_right = {region.model_ids[parent] for parent in parents} == wanted
                right[kinds[model_id]].append(is_right)
                right[ALL].append(is_right)
    return {kind: 100 * float(np.mean(each)) for kind, each in right.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row for each method and a column for each kind of edge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("homes", nargs="+", type=Home.from_argument, metavar="HOME=TRUTH")
    given = parser.parse_args(arguments)
    found = {name: [scored(home, pieces) for home in given.homes] for name, pieces in PIECES.items()}
    kinds = sorted({kind for homes in found.values() for home in homes for kind in home})
    rows = [(name, *(spread([home.get(kind) for home in homes]) for kind in kinds)) for name, homes in found.items()]
    print_table(("method", *kinds), rows)


if __name__ == "__main__":
    main()
