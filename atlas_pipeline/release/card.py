"""The data set card: what the release holds, what it does not, and how to use it. Generated, never edited."""

from __future__ import annotations

import pyarrow as pa
from huggingface_hub import DatasetCardData

from atlas_pipeline.release.markdown import markdown_table
from atlas_pipeline.release.warehouse import MACROS, said_in
from atlas_pipeline.schema import RELEASED, contract_of
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
        _coverage(known),
        _tables(store),
        _known_gaps(),
        _checks(checks),
        _use(where),
    ]
    return "\n\n".join(sections) + "\n"


def _default(table: str) -> dict[str, bool]:
    return {"default": True} if table == "edges.charted" else {}


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
    intro = "Columns, types and units stand in `data_dictionary.md`, checksums in `datapackage.json`."
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
        "Macros of `atlas.duckdb`, each over documented and charted edges; the confidence of a way is that of its "
        "weakest edge. Where the file is attached beside others, `use` it first.\n\n"
        + markdown_table(("macro", "what it gives"), macros)
    )
