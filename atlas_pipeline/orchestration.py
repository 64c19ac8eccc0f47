"""The few pieces of Dagster that all stages share: partitions, the decorator of a table's asset, its result.

Belongs here: how a contract becomes an asset. Does not belong here: assets, checks, jobs, or anything about the data.
"""

import base64
import time
from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg
import pyarrow as pa

from atlas_pipeline.atlas import Atlas
from atlas_pipeline.planning import Step
from atlas_pipeline.schema import TABLES, Input, TableContract, contract_of
from atlas_pipeline.schema.components import MODELS_MADE_FROM
from atlas_pipeline.storage import Attachment, Receipt

SNAPSHOTS = dg.DynamicPartitionsDefinition(name="snapshot")
REGIONS = dg.DynamicPartitionsDefinition(name="region")
PARTITIONS: dict[str | None, dg.DynamicPartitionsDefinition | None] = {
    "snapshot": SNAPSHOTS,
    "region": REGIONS,
    None: None,
}

SAMPLE_ROWS = 5
"""Rows shown with a materialisation; metadata lies in the event log and must stay small."""

PROGRESS_SECONDS = 5.0
"""Time between two lines about the progress of one asset."""

OWNERS = ["team:atlas"]

MODELS_LINEAGE = dg.TableColumnLineage(
    {
        column: [dg.TableColumnDep(asset_key=dg.AssetKey(["raw", "hub_stats"]), column_name=name) for name in sources]
        for column, sources in MODELS_MADE_FROM.items()
    }
)
"""Which columns of hub-stats the columns of a model come from, as the UI shows it."""


def asset_key(table: str) -> dg.AssetKey:
    """The asset of a table."""
    return dg.AssetKey(table.split("."))


def table_asset(table: str, **options: Any) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """Decorator that makes a function the asset of a table; key, group, partitions and deps come from the contract.

    Args:
        table: the table's name.
        options: further arguments of ``dg.asset``.
    """
    contract = contract_of(table)
    return dg.asset(
        key=asset_key(table),
        group_name=contract.stage,
        description=f"One row per {contract.grain}. {contract.description}",
        deps=[_dependency(contract, given) for given in contract.inputs],
        partitions_def=PARTITIONS[contract.partitioned_by],
        code_version=contract.fingerprint,
        owners=OWNERS,
        kinds={"parquet"} | options.pop("kinds", set()),
        metadata={"dagster/column_schema": column_schema(contract), "dagster/table_name": table},
        **options,
    )


def column_schema(contract: TableContract) -> dg.TableSchema:
    """A contract's columns as the UI shows them."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column.name,
                type=str(column.type),
                description=column.description,
                constraints=dg.TableColumnConstraints(nullable=column.nullable, unique=contract.key == (column.name,)),
            )
            for column in contract.columns
        ]
    )


def partition_of(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> str | None:
    """The run's partition; None for what is not partitioned."""
    return context.partition_key if context.has_partition_key else None


def materialized(
    context: dg.AssetExecutionContext,
    atlas: Atlas,
    rows: pa.Table | pa.RecordBatchReader,
    *,
    attachment: Attachment | None = None,
    picture: bytes | None = None,
    pictures: Mapping[str, bytes] | None = None,
    notes: tuple[str, ...] = (),
    figures: Mapping[str, int] | Mapping[str, float] | None = None,
) -> dg.MaterializeResult:
    """Write the rows of the running asset's table and say what was written.

    Args:
        context: of the running asset.
        atlas: where to write.
        rows: the table's rows for the run's partition; a reader must give them in the contract's order.
        attachment: arrays to lie beside them.
        picture: a small PNG.
        pictures: further ones by name.
        notes: sentences about input that was passed over; logged as warnings too.
        figures: what making them has cost, by name.
    """
    table = ".".join(context.asset_key.path)
    receipt = atlas.write(table, rows, partition_of(context), attachment=attachment)
    for note in notes:
        context.log.warning(note)
    metadata = _metadata(atlas, receipt) | dict(figures or {})
    if notes:
        metadata["notes"] = dg.MetadataValue.md("\n".join(f"- {note}" for note in notes[:50]))
    for name, content in {**({} if picture is None else {"picture": picture}), **(pictures or {})}.items():
        encoded = base64.b64encode(content).decode()
        metadata[name] = dg.MetadataValue.md(f"![{table}](data:image/png;base64,{encoded})")
    return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(receipt.digest[:64]))


def logged_progress(context: dg.AssetExecutionContext, atlas: Atlas, what: str) -> Callable[[int, int, str], None]:
    """A progress(done, total, name) that tells the atlas, and logs a line every few seconds; none for what is fast."""
    last = time.monotonic()

    def progress(done: int, total: int, name: str) -> None:
        nonlocal last
        atlas.progress(done, total, name)
        if time.monotonic() - last >= PROGRESS_SECONDS:
            last = time.monotonic()
            context.log.info(f"{done} of {total} {what}, the last {name}")

    return progress


def register_region_partitions(context: dg.AssetExecutionContext, atlas: Atlas) -> None:
    """Make the region partitions those of the latest snapshot's regions; tables of vanished ones go."""
    wanted = set(atlas.region_partitions())
    there = set(context.instance.get_dynamic_partitions("region"))
    context.instance.add_dynamic_partitions("region", sorted(wanted - there))
    for gone in sorted(there - wanted):
        context.instance.delete_dynamic_partition("region", gone)
    for table in (name for name in TABLES if contract_of(name).partitioned_by == "region"):
        for gone in sorted(set(atlas.store.partitions(table)) - wanted):
            atlas.store.delete(table, gone)


def _dependency(contract: TableContract, given: Input) -> dg.AssetDep:
    is_same = given.scope == "same"
    return dg.AssetDep(asset_key(given.table), partition_mapping=None if is_same else _mapping(contract, given))


def _mapping(contract: TableContract, given: Input) -> dg.PartitionMapping | None:
    """Whatever is not the same partition depends on all of them, as far as the orchestrator is concerned."""
    return dg.AllPartitionMapping() if contract_of(given.table).partitioned_by else None


def _metadata(atlas: Atlas, receipt: Receipt) -> dict[str, Any]:
    is_partition = receipt.partition is not None
    lineage = {"dagster/column_lineage": MODELS_LINEAGE} if receipt.table == "components.models" else {}
    with atlas.store.connect({receipt.table: [receipt.partition] if receipt.partition is not None else None}) as stored:
        sample = stored.sql(f"from {receipt.table} limit {SAMPLE_ROWS}").to_arrow_table()
    return {
        "dagster/partition_row_count" if is_partition else "dagster/row_count": receipt.rows,
        "bytes": receipt.bytes,
        "sha256": receipt.sha256,
        "path": dg.MetadataValue.path(atlas.store.files.url(atlas.store.file_name(receipt.table, receipt.partition))),
        "sample": dg.MetadataValue.md(_markdown(sample.schema.names, sample.to_pylist())),
        **lineage,
    }


def _markdown(names: list[str], rows: list[dict[str, Any]]) -> str:
    """A table whose cells cannot break out of it: data is text, never markup."""
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(_cell(row[name]) for name in names) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: object) -> str:
    text = str(value)[:80].replace("\n", " ")
    return "".join("&#" + str(ord(c)) + ";" if c in "|<>&`[]!*_\\" else c for c in text)


def execute_step(
    defs: dg.Definitions, instance: dg.DagsterInstance, step: Step, *, log_level: str = "CRITICAL"
) -> list[str]:
    """Materialise the tables of a step, checks included, as one run in this process.

    Args:
        defs: the code location.
        instance: where the run is recorded, for the UI.
        step: what to make.
        log_level: level of what goes to the terminal.

    Returns:
        a sentence on each thing that failed; none when all went well.
    """
    job = defs.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(
        instance=instance,
        asset_selection=[asset_key(table) for table in step.tables],
        partition_key=step.partition,
        raise_on_error=False,
        run_config={"loggers": {"console": {"config": {"log_level": log_level}}}},
    )
    failed = [_failure(event) for event in result.filter_events(lambda event: event.is_step_failure)]
    for evaluation in result.get_asset_check_evaluations():
        if not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.ERROR:
            n_failing = evaluation.metadata["n_failing"].value if "n_failing" in evaluation.metadata else ""
            failed.append(f"{'.'.join(evaluation.asset_key.path)}: {evaluation.check_name} fails for {n_failing} rows")
    return failed


def _failure(event: dg.DagsterEvent) -> str:
    """The error that an asset raised, as one line that names the table."""
    error = event.step_failure_data.error
    raised = error.cause if error is not None and error.cause is not None else error
    message = "failed" if raised is None else raised.message.strip().splitlines()[0]
    return f"{(event.node_name or '').replace('__', '.')}: {message.removeprefix(_class_of(message))}"


def _class_of(message: str) -> str:
    """The class with its module that stands before an error's sentence."""
    name, colon, _ = message.partition(": ")
    return name + colon if name.startswith("atlas_pipeline.") else ""
