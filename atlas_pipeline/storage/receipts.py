"""What a write leaves beside a partition: how many rows and bytes, their checksum, and what they were made from."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Receipt:
    """One written partition.

    Attributes:
        table: the table's name.
        partition: the partition; None where the table is not partitioned.
        rows: number of rows.
        bytes: size of the Parquet file.
        sha256: checksum of the Parquet file.
        contract: fingerprint of the contract that it was written under.
        inputs: digest by input (table/partition, setting or source) that it was made from.
        attachment_sha256: checksum of the safetensors file beside it, where there is one.
        attachment_bytes: its size.
    """

    table: str
    partition: str | None
    rows: int
    bytes: int
    sha256: str
    contract: str
    inputs: dict[str, str] = field(default_factory=dict)
    attachment_sha256: str | None = None
    attachment_bytes: int | None = None

    @property
    def digest(self) -> str:
        """Digest of all that was written; two partitions with the same digest are the same."""
        return self.sha256 if self.attachment_sha256 is None else f"{self.sha256}+{self.attachment_sha256}"

    def to_json(self) -> str:
        """The receipt as JSON, keys sorted."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Receipt | None:
        """The receipt in a JSON text; None if it is none, so that a damaged receipt means work to be done again."""
        try:
            receipt = cls(**json.loads(text))
        except (ValueError, TypeError, RecursionError):
            return None
        return receipt if receipt._is_well_typed() else None

    def _is_well_typed(self) -> bool:
        is_attached = self.attachment_sha256 is not None
        return (
            all(isinstance(text, str) for text in (self.table, self.sha256, self.contract))
            and isinstance(self.partition, str | None)
            and all(_is_count(number) for number in (self.rows, self.bytes))
            and isinstance(self.inputs, dict)
            and all(isinstance(digest, str) for digest in self.inputs.values())
            and isinstance(self.attachment_sha256, str | None)
            and (_is_count(self.attachment_bytes) if is_attached else self.attachment_bytes is None)
        )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
