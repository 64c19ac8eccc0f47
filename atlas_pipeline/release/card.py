"""The data set card: what the release holds, what it does not, and how to use it. Generated, never edited."""

from __future__ import annotations

from importlib.metadata import version as package_version

import pyarrow as pa
import pyarrow.compute as pc
from huggingface_hub import DatasetCardData

from atlas_pipeline.release.markdown import code, markdown_table
from atlas_pipeline.release.warehouse import MACROS, said_in
from atlas_pipeline.schema import RELEASED, contract_of
from atlas_pipeline.schema.components import MODELS_MADE_FROM
from atlas_pipeline.storage import TableStore, load_query


def facts(store: TableStore) -> dict[str, object]:
    """Figures of the latest snapshot that the card and the terminal show.

    Returns:
        counts by name, among them models, documented and charted edges, regions and sampled models.
    """
    tables = ("components.models", "components.regions", "components.parents", "edges.charted", "features.models")
    with store.connect(dict.fromkeys(tables), optional=tables) as connection:

        def one(query: str) -> object:
            return connection.execute(query).fetchall()[0][0]

        latest = one("select max(snapshot) from components.models")
        connection.execute("set variable latest = ?", [latest])
        of_latest = "where snapshot = getvariable('latest')"
        return {
            "snapshot": latest,
            "snapshots": one("select count(distinct snapshot) from components.models"),
            "models": one(f"select count(*) from components.models {of_latest}"),
            "restored": one(f"select count(*) from components.models {of_latest} and presence = 'removed'"),
            "singles": one(f"select count(*) from components.regions {of_latest} and region_size = 1"),
            "regions_of_several": one(
                f"select count(distinct region_id) from components.regions {of_latest} and region_size > 1"
            ),
            "dropped": one(f"select count(*) from components.parents {of_latest} and not is_kept"),
            "documented": one(f"select count(*) from components.parents {of_latest} and is_kept"),
            "charted": one("select count(*) from edges.charted where origin = 'charted'"),
            "ambiguous": one("select count(*) from edges.charted where is_ambiguous"),
            "sampled": one("select count(*) from features.models where status = 'ok'"),
            "without_parent": one(
                f"""select count(*) from components.models {of_latest}
                and model_id not in (select child_id from edges.charted)"""
            ),
        }


def write_card(store: TableStore, checks: pa.Table, *, version: str, repo_id: str) -> str:
    """The card as Markdown with YAML front matter.

    Args:
        store: where the released tables lie.
        checks: rows of ``release.checks``.
        version: version of the release.
        repo_id: Hub data set that the snippets name; empty for a placeholder.
    """
    known = facts(store)
    configs = [
        {"config_name": table, "data_files": f"tables/{table.replace('.', '/')}/*.parquet", **_default(table)}
        for table in RELEASED
        if store.partitions(table)
    ]
    front = DatasetCardData(
        pretty_name="Model atlas", tags=["model-atlas", "provenance", "lineage"], configs=configs, language="en"
    ).to_yaml()
    where = repo_id or "ORG/NAME"
    sections = [
        f"---\n{front}\n---",
        f"# Model atlas, version {version}",
        "Which neural network was made from which, with evidence for every edge. The tables come from the metadata of "
        "a model hub and from sampled weights; every edge says whether it is documented or charted, by which rule, "
        "and how sure it is.",
        _look(store),
        _coverage(known),
        _tables(store),
        _known_gaps(),
        _imputation(),
        _columns(),
        _provenance(store),
        _checks(checks),
        _use(where),
        _citation(version, repo_id),
    ]
    return "\n\n".join(sections) + "\n"


def _default(table: str) -> dict[str, bool]:
    return {"default": True} if table == "edges.charted" else {}


def _look(store: TableStore) -> str:
    drawn = store.read("release.figures").filter(pc.field("reason").is_null()) if _has_figures(store) else None
    lines = [
        "- `map/index.html`: all models as a map, in the browser, from the downloaded folder: search, filter by time "
        "and relation, click for parents, children, licenses and evidence.",
        "- `graphs/atlas.gexf.gz` and `graphs/atlas.graphml.gz`: the graph with positions for Gephi, Cytoscape, yEd, "
        "igraph and networkx; the largest components one by one under `graphs/regions/`.",
    ]
    picture = ""
    if drawn is not None and drawn.num_rows:
        links = (f"[{row['title']}](figures/{row['figure']}.svg)" for row in drawn.to_pylist())
        lines.append(f"- Figures: {', '.join(links)}.")
        if "02_atlas" in drawn["figure"].to_pylist():
            picture = "![Models that hang together, coloured by relation](figures/02_atlas.png)\n\n"
    return f"## Look at it\n\n{picture}" + "\n".join(lines)


def _has_figures(store: TableStore) -> bool:
    return bool(store.partitions("release.figures"))


def _coverage(known: dict[str, object]) -> str:
    rows = [
        ("Latest snapshot", known["snapshot"]),
        ("Snapshots", known["snapshots"]),
        ("Models", known["models"]),
        ("of these restored because a child names them", known["restored"]),
        ("Models whose weights were sampled", known["sampled"]),
        ("Documented edges", known["documented"]),
        ("Charted edges", known["charted"]),
        ("Edges marked ambiguous", known["ambiguous"]),
        ("Documented edges dropped with a reason", known["dropped"]),
        ("Models without any parent, documented or charted", known["without_parent"]),
        ("Regions of two models or more", known["regions_of_several"]),
    ]
    return "## Coverage\n\n" + markdown_table(("", "count"), rows)


def _tables(store: TableStore) -> str:
    rows = []
    for table in RELEASED:
        n_rows = sum(receipt.rows for receipt in store.receipts(table).values() if receipt)
        contract = contract_of(table)
        rows.append((f"`{table}`", contract.grain, ", ".join(f"`{k}`" for k in contract.full_key), n_rows))
    intro = (
        "Columns, types and units stand in `data_dictionary.md`, checksums in `datapackage.json`, what is new since "
        "the last release in `CHANGES.md`."
    )
    return f"## Tables\n\n{markdown_table(('table', 'one row per', 'key', 'rows'), rows)}\n\n{intro}"


def _known_gaps() -> str:
    return (
        "## Known gaps\n\n"
        "- A model without a parent in these tables is not thereby a source: most models document none.\n"
        "- Confidence of charted edges is calibrated on small trained networks, not on models of this hub.\n"
        "- An undocumented merge is recognised only where its other parents were sampled as well.\n"
        "- A model whose parent is not in these tables is mostly charted to a sibling or to its grandparent.\n"
        "- The sampled neurons and distance matrices that the tables' descriptions speak of are not released.\n"
        "- Downloads are those of 30 days before a snapshot; do not add them across snapshots.\n"
        "- A value in `attributes.imputed` is a vote of sibling models. It never replaces a reported value.\n"
        "- Removed models are known only if an earlier snapshot had them or a child still names them."
    )


def _imputation() -> str:
    return (
        "## What is reported and what is filled in\n\n"
        "What a source reported stands in `components.models` and `attributes.evaluations`, untouched by what follows "
        "from it. What is filled in stands beside it, in `attributes.imputed` (votes of relatives, with their number "
        "and a confidence) and `attributes.imputed_evaluations` (with an expected error), each with the reported "
        "value where there is one, so that it can be left out or checked. Documented edges have `origin = "
        "'documented'` in `edges.charted`, found ones `'charted'`: filter by that where only what authors say counts."
    )


def _columns() -> str:
    rows = [(f"`{column}`", ", ".join(f"`{name}`" for name in sources)) for column, sources in MODELS_MADE_FROM.items()]
    intro = "Columns of `components.models` and the columns of hub-stats that they are read from:"
    return f"## From raw to clean\n\n{intro}\n\n{markdown_table(('column', 'made from'), rows)}"


def _provenance(store: TableStore) -> str:
    sources = source_revisions(store)
    rows = [(code(each["snapshot"]), code(each["source_revision"])) for each in sources]
    text = (
        "## Where it comes from\n\n"
        "Metadata of models as a hub's [hub-stats](https://huggingface.co/datasets/cfahlgren1/hub-stats) publishes "
        "them, and sampled rows of weight files. Every model keeps the license of its author, which "
        "`components.models` names; names, dates, counts and edges are facts about models, not their content. Texts "
        "of model cards are not part of the release. Made by atlas-pipeline "
        f"{package_version('atlas-pipeline')}; settings and checksums stand in `datapackage.json`."
    )
    return text + ("\n\n" + markdown_table(("snapshot", "commit or sha256 of its file"), rows) if rows else "")


def source_revisions(store: TableStore) -> list[dict[str, str]]:
    """Snapshot and source_revision of each file that was read."""
    with store.connect({"raw.hub_stats": None}, optional=("raw.hub_stats",)) as connection:
        query = "select distinct snapshot, source_revision from raw.hub_stats order by all"
        rows: list[dict[str, str]] = connection.sql(query).to_arrow_table().to_pylist()
    return rows


def _citation(version: str, repo_id: str) -> str:
    place = f",\n  url = {{https://huggingface.co/datasets/{repo_id}}}" if repo_id else ""
    year = version.split(".", maxsplit=1)[0]
    return (
        "## How to cite\n\n"
        "Name the version: the next one says other things.\n\n"
        f"```bibtex\n@misc{{model_atlas_{version.replace('.', '_')},\n  title = {{Model atlas}},\n  version = "
        f"{{{version}}},\n  year = {{{year}}}{place}\n}}\n```\n\n"
        "The idea of an atlas of models, and what its figures are compared with: *Charting and Navigating Hugging "
        "Face's Model Atlas* (Horwitz and others, 2025)."
    )


def _checks(checks: pa.Table) -> str:
    records = checks.to_pylist()
    failed = [r for r in records if not r["is_passed"]]
    text = f"## Checks\n\n{len(records) - len(failed)} of {len(records)} checks passed before this release was made."
    if failed:
        rows = [(f"`{r['table']}`", r["check"], r["n_failing"]) for r in failed]
        text += " These are warnings:\n\n" + markdown_table(("table", "check", "failing"), rows)
    return text


def _use(where: str) -> str:
    macros = [(f"`{MACROS[name]}`", said_in(load_query(f"macros/{name}"))) for name in MACROS]
    return (
        "## Use\n\n"
        "```sql\n-- DuckDB, in the downloaded folder\n"
        "select child_id, parent_id, relation, rule, confidence from 'tables/edges/charted/*.parquet';\n```\n\n"
        f"```python\nfrom datasets import load_dataset\n\nedges = load_dataset('{where}', 'edges.charted')\n```\n\n"
        "```python\nimport duckdb\n\natlas = duckdb.connect('atlas.duckdb', read_only=True)\n"
        "atlas.sql(\"from descendants('ORG/MODEL')\")\n"
        "atlas.sql('from atlas_models order by sub_tree_downloads desc limit 10')\n```\n\n"
        "```python\nimport pandas as pd\n\nedges = pd.read_parquet('tables/edges/charted')\n"
        "print(edges.groupby(['origin', 'relation']).confidence.describe())\n```\n\n"
        "Macros of `atlas.duckdb`, each over documented and charted edges; the confidence of a way is that of its "
        "weakest edge. Where the file is attached beside others, `use` it first.\n\n"
        + markdown_table(("macro", "what it gives"), macros)
    )
