"""Plausibility of the released tables, as Great Expectations suites.

DuckDB turns a table of any size into one row of figures for each snapshot; Great Expectations judges those rows. The
suites say what a reader of the data may expect, beyond what must hold.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Final

import duckdb

from atlas_pipeline.quality.results import SAMPLE_ROWS, Check, CheckResult, not_run
from atlas_pipeline.schema import contract_of

NAME: Final = "figures_are_plausible"


@dataclass(frozen=True)
class Figure:
    """A figure of a table and the band in which it is expected.

    Attributes:
        name: name of the figure.
        sql: aggregate over the table.
        minimum: least plausible value.
        maximum: greatest plausible value; None for no bound.
    """

    name: str
    sql: str
    minimum: float
    maximum: float | None = None


SUITES: Final[dict[str, tuple[Figure, ...]]] = {
    "components.models": (
        Figure("n_models", "count(*)", 1),
        Figure("share_with_bad_id", "avg((not regexp_full_match(model_id, '[^/\\s]+(/[^/\\s]+)?'))::int)", 0, 0),
        Figure("share_removed", "avg((presence = 'removed')::int)", 0, 0.5),
        Figure("first_year", "coalesce(min(year(created_at)), 2018)", 2015, 2100),
    ),
    "components.claims": (
        Figure("share_usable", "coalesce(avg((drop_reason is null)::int), 1)", 0.7, 1),
        Figure("share_unlisted", "coalesce(avg((resolution = 'unlisted')::int), 0)", 0, 0.5),
    ),
    "components.parents": (
        Figure("share_kept", "coalesce(avg(is_kept::int), 1)", 0.8, 1),
        Figure("share_child_older", "coalesce(avg(child_is_older::int), 0)", 0, 0.1),
        Figure("share_without_source", "coalesce(avg((len(sources) = 0)::int), 0)", 0, 0),
    ),
    "components.regions": (Figure("share_source", "avg(is_source::int)", 0.001, 1),),
    "components.impact": (
        Figure("deepest", "max(depth)", 0, 60),
        Figure("share_leaf", "avg(is_leaf::int)", 0.3, 1),
    ),
    "features.models": (
        Figure("share_of_bytes_read", "coalesce(sum(bytes_read) / nullif(sum(bytes_total), 0), 0)", 0, 2),
    ),
    "features.tensors": (
        Figure("neurons_of_a_matrix", "coalesce(avg(n_neurons), 1)", 1, 1000),
        Figure("share_hidden_quantization", "coalesce(avg((hidden_quantization is not null)::int), 0)", 0, 0.5),
    ),
    "distances.neighbors": (Figure("greatest_rank", "coalesce(max(rank), 0)", 0, 100),),
    "edges.charted": (
        Figure("parents_of_a_child", "count(*) / greatest(count(distinct child_id), 1)", 0, 3),
        Figure("mean_confidence", "coalesce(avg(confidence), 1)", 0.3, 1),
    ),
    "edges.audit": (
        Figure("share_contradicting", "coalesce(avg((verdict = 'contradicts')::int), 0)", 0, 0.3),
        Figure("confidence_of_contradictions", "avg(confidence) filter (verdict = 'contradicts')", 0.5, 1),
    ),
    "attributes.evaluations": (
        Figure("share_contradicting", "coalesce(avg((unit = 'share' and greatest - least > 0.2)::int), 0)", 0, 0.2),
        Figure("share_of_shares_beyond_one", "coalesce(avg((value > 1)::int) filter (unit = 'share'), 0)", 0, 0.05),
    ),
    "attributes.imputed_evaluations": (
        Figure("mean_error_of_shares", "avg(expected_error) filter (unit = 'share')", 0, 0.2),
    ),
    "attributes.license_lineage": (Figure("share_with_unknown_license", "avg(has_unknown_license::int)", 0, 0.9),),
    "trends.statistics": (Figure("greatest_share", "max(value) filter (unit = 'share')", 0, 1),),
    "attributes.imputed": (Figure("mean_confidence", "coalesce(avg(confidence), 1)", 0.5, 1),),
}


def plausibility_checks() -> tuple[Check, ...]:
    """One check for each table that has a suite."""
    text = "The figures of {} lie where a reader would expect them. Red: look at the figure before you use the table."
    return tuple(Check(table, NAME, text.format(table), "warning") for table in SUITES)


def check_plausibility(connection: duckdb.DuckDBPyConnection, tables: tuple[str, ...]) -> list[CheckResult]:
    """Judge the figures of tables with Great Expectations, each snapshot by itself.

    Args:
        connection: with the tables as views.
        tables: tables that have a suite.

    Returns:
        one result for each table, in the order of the suites; a failing row is a figure of a snapshot. A figure that
        is null, because there is nothing that it could be taken of, is plausible.
    """
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    import great_expectations as gx  # noqa: PLC0415  seconds and 260 MB: paid only where tables are released
    from great_expectations.data_context.types.base import ProgressBarsConfig  # noqa: PLC0415
    from great_expectations.expectations.core import ExpectColumnValuesToBeBetween  # noqa: PLC0415

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    frames = context.data_sources.add_pandas("figures")
    results = []
    for check in (c for c in plausibility_checks() if c.table in tables):
        try:
            rows = connection.sql(_figures_query(check.table)).df()
        except duckdb.Error as error:
            results.append(not_run(check, " ".join(str(error).split())))
            continue
        suite = gx.ExpectationSuite(
            name=check.table,
            expectations=[
                ExpectColumnValuesToBeBetween(column=f.name, min_value=f.minimum, max_value=f.maximum)
                for f in SUITES[check.table]
            ],
        )
        asset = frames.add_dataframe_asset(check.table)
        batch = asset.add_batch_definition_whole_dataframe("all").get_batch(batch_parameters={"dataframe": rows})
        validated = batch.validate(
            suite, result_format={"result_format": "COMPLETE", "unexpected_index_column_names": ["snapshot"]}
        )
        judged = {
            r.expectation_config.kwargs["column"]: r for r in validated.results if r.expectation_config is not None
        }
        failing = [text for figure in SUITES[check.table] for text in _outside(figure, judged[figure.name])]
        results.append(CheckResult(check, len(failing), tuple(failing[:SAMPLE_ROWS])))
    return results


def _figures_query(table: str) -> str:
    """One row of figures for each snapshot, or one for the table where it has none, or no rows."""
    figures = ", ".join(f"({figure.sql})::double as {figure.name}" for figure in SUITES[table])
    if contract_of(table).partitioned_by != "snapshot":
        return f"select '' as snapshot, {figures} from {table}"
    return (
        f"select coalesce(snapshot, '') as snapshot, {figures} from {table} group by grouping sets ((), (snapshot)) "
        "having grouping(snapshot) = 0 or count(*) = 0 order by all"
    )


def _outside(figure: Figure, judged: Any) -> list[str]:
    """What Great Expectations found outside a figure's band, as sentences."""
    if judged.success:
        return []
    band = f"at least {figure.minimum:g}" if figure.maximum is None else f"{figure.minimum:g} to {figure.maximum:g}"
    if not judged.result:
        return [f"{figure.name} could not be judged"]
    return [
        f"{row['snapshot']} {figure.name} = {row[figure.name]:g}, expected {band}".strip()
        for row in judged.result["unexpected_index_list"]
    ]
