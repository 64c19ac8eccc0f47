"""Adapters: the checks of a table as Dagster asset checks. What they check stands in the other modules."""

from collections.abc import Iterator

import dagster as dg

from atlas_pipeline.atlas import Atlas
from atlas_pipeline.orchestration import asset_key, partition_of
from atlas_pipeline.quality.invariants import checks_of, run_check
from atlas_pipeline.quality.results import Check, CheckResult
from atlas_pipeline.schema import RELEASED, TABLES, contract_of

SEVERITIES = {"error": dg.AssetCheckSeverity.ERROR, "warning": dg.AssetCheckSeverity.WARN}


def table_checks(table: str) -> dg.AssetChecksDefinition:
    """All checks of a table as one step; those of severity error block what comes after."""
    checks = {check.name: check for check in checks_of(table)}
    further = sorted({name for check in checks.values() for name in check.reads})

    @dg.multi_asset_check(
        name=f"{table.replace('.', '__')}__checks",
        specs=[_spec(check) for check in checks.values()],
        can_subset=True,
    )
    def run(context: dg.AssetCheckExecutionContext, atlas: dg.ResourceParam[Atlas]) -> Iterator[dg.AssetCheckResult]:
        partition = partition_of(context) if contract_of(table).partitioned_by else None
        views = views_for(atlas, table, partition, further)
        with atlas.store.connect(views, optional=further) as connection:
            connection.execute("set variable partition = ?", [partition])
            for key in sorted(context.selected_asset_check_keys, key=lambda k: k.name):
                yield _report(run_check(connection, checks[key.name]))

    return run


def views_for(atlas: Atlas, table: str, partition: str | None, further: list[str]) -> dict[str, list[str] | None]:
    """The partitions that a check of one partition looks at: its own, and all of tables partitioned otherwise."""
    own = contract_of(table).partitioned_by
    views: dict[str, list[str] | None] = {table: [partition] if partition is not None else None}
    for name in further:
        views[name] = [partition] if partition is not None and contract_of(name).partitioned_by == own else None
    return views


def all_table_checks() -> list[dg.AssetChecksDefinition]:
    """The checks of all tables."""
    return [*(table_checks(table) for table in TABLES), release_checks()]


def _spec(check: Check) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(
        name=check.name,
        asset=asset_key(check.table),
        description=check.description,
        blocking=check.severity == "error",
    )


def _report(result: CheckResult) -> dg.AssetCheckResult:
    rows = [dg.TableRecord({"row": text[:500]}) for text in result.sample]
    schema = dg.TableSchema([dg.TableColumn("row", "string")])
    return dg.AssetCheckResult(
        asset_key=asset_key(result.check.table),
        check_name=result.check.name,
        passed=result.is_passed,
        severity=SEVERITIES[result.check.severity],
        description=result.check.description,
        metadata={"n_failing": result.n_failing, "sample": dg.MetadataValue.table(rows, schema=schema)},
    )


def release_checks() -> dg.AssetChecksDefinition:
    """What ``release.checks`` found, table by table, with the plausibility figures that Great Expectations judged."""
    tables = {table: f"{table.replace('.', '__')}_is_sound" for table in RELEASED}
    text = "All checks of {} pass on what lies in the store, plausibility included. Red: see the table release.checks."

    @dg.multi_asset_check(
        name="release__soundness",
        specs=[
            dg.AssetCheckSpec(name=name, asset=asset_key("release.checks"), description=text.format(table))
            for table, name in tables.items()
        ],
    )
    def run(atlas: dg.ResourceParam[Atlas]) -> Iterator[dg.AssetCheckResult]:
        rows = atlas.store.read("release.checks").to_pylist()
        for table, name in tables.items():
            failed = [row for row in rows if row["table"] == table and not row["is_passed"]]
            is_error = any(row["severity"] == "error" for row in failed)
            yield dg.AssetCheckResult(
                asset_key=asset_key("release.checks"),
                check_name=name,
                passed=not failed,
                severity=SEVERITIES["error" if is_error else "warning"],
                metadata={"failed": ", ".join(f"{row['check']} ({row['n_failing']})" for row in failed) or "none"},
            )

    return run
