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
    """

    table: str
    partition: str | None
    rows: int
    bytes: int
    sha256: str
    contract: str
    inputs: dict[str, str] = field(default_factory=dict)
    attachment_sha256: str | None = None

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
            return cls(**json.loads(text))
        except (ValueError, TypeError):
            return None
