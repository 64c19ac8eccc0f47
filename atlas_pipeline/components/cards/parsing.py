"""Reads what model cards say: front matter as JSON, and every statement about a parent.

A card is hostile until read: it comes with capped length, YAML is built from events, regular expressions are bounded,
and nothing of it is rendered or run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from typing import Any, Final

import duckdb
import pyarrow as pa

from atlas_pipeline.components.cards.blocks import read_body, split_front_matter
from atlas_pipeline.components.cards.mentions import references
from atlas_pipeline.components.cards.merges import merge_prose, recipe_statements
from atlas_pipeline.components.cards.phrases import QUANTIZED_NAME
from atlas_pipeline.components.cards.prose import prose_statements
from atlas_pipeline.components.cards.statements import MAX_NAME_CHARACTERS, RELATIONS, Statement, collapsed
from atlas_pipeline.components.cards.yaml import CardYamlError, as_json, read_yaml
from atlas_pipeline.schema import contract_of

BATCH_CARDS: Final = 1000
"""Cards that are read at a time: some megabytes, and a second or less of work."""

RANGE_CARDS: Final = 20_000
"""Cards whose texts are in memory at a time: about 100 MB."""

MANY_CARDS: Final = 20_000
"""From so many cards on, several processes are faster than one: each takes a second or two to start."""

ADAPTER_LIBRARIES: Final = ("peft", "adapter-transformers", "adapters")
"""What these libraries save is an adapter, also where the card, which a trainer wrote, says "fine-tuned"."""

MAX_PROBLEM_CHARACTERS: Final = 300


@dataclass(frozen=True, slots=True)
class ParsedCard:
    """What a card says.

    Attributes:
        metadata: front matter as JSON text; None where there is none or it cannot be parsed.
        n_words: words outside front matter and code.
        problem: why the front matter could not be parsed.
        statements: parents that the card names.
    """

    metadata: str | None
    n_words: int
    problem: str | None
    statements: tuple[Statement, ...]


def parse_card(card: str, *, model_id: str) -> ParsedCard:
    """Parse one card; there is no text that makes it fail.

    Args:
        card: the README.md, front matter included.
        model_id: the model that it is the card of.
    """
    metadata, body, problem = _front_matter(card)
    parts = read_body(body)
    targets = references(body)
    statements = [
        *_declared(metadata or {}),
        *recipe_statements(parts.code, own_id=model_id),
        *merge_prose(parts.blocks, own_id=model_id, targets=targets),
        *prose_statements(parts.blocks, own_id=model_id, targets=targets),
    ]
    if (metadata or {}).get("library_name") in ADAPTER_LIBRARIES:
        statements = [_of_adapter(statement) for statement in statements]
    if QUANTIZED_NAME.search(model_id.rpartition("/")[2]):
        statements = _of_quantized(statements)
    return ParsedCard(
        None if metadata is None else as_json(metadata), parts.n_words, problem, tuple(collapsed(statements))
    )


def parsed_cards(connection: duckdb.DuckDBPyConnection, snapshot: str, *, processes: int = 1) -> pa.RecordBatchReader:
    """Rows of ``components.cards``, by model_id; they come as they are asked for: the connection must stay open.

    Args:
        connection: with raw.cards of the snapshot.
        snapshot: YYYY-MM-DD.
        processes: number of processes that parse; the rows are the same for any number.
    """
    names = connection.execute("select model_id from raw.cards where card is not null order by model_id").fetchall()
    ids = [str(name) for (name,) in names]
    schema = contract_of("components.cards").arrow_schema
    batches = _texts(connection, ids)
    used = processes if len(ids) >= MANY_CARDS else 1
    return pa.RecordBatchReader.from_batches(schema, _parsed_batches(batches, snapshot, used))


def _texts(connection: duckdb.DuckDBPyConnection, ids: list[str]) -> Iterator[pa.RecordBatch]:
    """Batches of model_id and card, by model_id.

    Range by range: a stream out of DuckDB does not keep the stored order, and to sort all texts at once is dear.
    """
    query = "select model_id, card from raw.cards where card is not null and model_id between ? and ? order by model_id"
    for start in range(0, len(ids), RANGE_CARDS):
        part = ids[start : start + RANGE_CARDS]
        table = connection.sql(query, params=[part[0], part[-1]]).to_arrow_table()
        yield from table.combine_chunks().to_batches(max_chunksize=BATCH_CARDS)


def parse_batch(cards: pa.RecordBatch, snapshot: str) -> pa.RecordBatch:
    """Rows of ``components.cards`` for a batch of model_id and card."""
    rows = []
    for model_id, card in zip(cards["model_id"].to_pylist(), cards["card"].to_pylist(), strict=True):
        parsed = parse_card(card, model_id=model_id)
        rows.append(
            {
                "snapshot": snapshot,
                "model_id": model_id,
                "metadata": parsed.metadata,
                "n_words": parsed.n_words,
                "problem": parsed.problem,
                "statements": [asdict(statement) for statement in parsed.statements],
            }
        )
    return pa.RecordBatch.from_pylist(rows, contract_of("components.cards").arrow_schema)


def _parsed_batches(texts: Iterable[pa.RecordBatch], snapshot: str, processes: int) -> Iterator[pa.RecordBatch]:
    if processes <= 1:
        for batch in texts:
            yield parse_batch(batch, snapshot)
        return
    # A process that is forked from one with threads can hang, so they are started anew.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        pending: deque[Future[pa.RecordBatch]] = deque()
        for batch in texts:
            pending.append(pool.submit(parse_batch, batch, snapshot))
            if len(pending) > 2 * processes:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _front_matter(card: str) -> tuple[dict[str, Any] | None, str, str | None]:
    """The front matter's values, the rest of the card, and what is wrong with the front matter."""
    try:
        text, body = split_front_matter(card)
    except ValueError as error:
        return None, card, str(error)
    if text is None or not text.strip():
        return None, body, None
    try:
        documents = read_yaml(text)
    except CardYamlError as error:
        return None, body, str(error)[:MAX_PROBLEM_CHARACTERS]
    if not documents or documents[0] is None:
        return None, body, None
    if len(documents) > 1 or not isinstance(documents[0], dict):
        return None, body, "the front matter is no mapping"
    return documents[0], body, None


def _declared(metadata: dict[str, Any]) -> Iterator[Statement]:
    """Parents in the front matter, whatever they are: a number or a mapping names no model, but it stands there."""
    named = metadata.get("base_model")
    relation = metadata.get("base_model_relation")
    for parent in named if isinstance(named, list) else [named]:
        text = parent if isinstance(parent, str) else as_json(parent)
        if parent is not None and text.strip():
            known = relation if isinstance(relation, str) and relation in RELATIONS else None
            yield Statement("card_data", text.strip()[:MAX_NAME_CHARACTERS], known)


def _of_adapter(statement: Statement) -> Statement:
    is_text = statement.source == "card_text" and statement.relation == "finetune"
    return replace(statement, relation="adapter") if is_text else statement


def _of_quantized(statements: list[Statement]) -> list[Statement]:
    """Statements of a quantised model: its card says what was quantised, and then often repeats that model's card."""
    if not any(statement.relation == "quantized" and statement.source == "card_text" for statement in statements):
        return statements
    return [each for each in statements if each.source == "card_data" or each.relation == "quantized"]
