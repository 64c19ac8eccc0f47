"""Model types that share weights although they go by different names, as data (``families.csv``).

A GGUF file names an architecture of llama.cpp, which often stands for several model types of config.json: what says
``llama`` may have been made from a Mistral. Names that differ in letter case and punctuation alone need no row.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

_FAMILIES: Final = Path(__file__).with_name("families.csv")


@cache
def model_families() -> pa.Table:
    """The family of each model type that has another name than its family: model_type, family, both folded."""
    texts = dict.fromkeys(("model_type", "family"), pa.string())
    rows = pacsv.read_csv(_FAMILIES, convert_options=pacsv.ConvertOptions(column_types=texts))
    folded = {name: pc.replace_substring_regex(pc.utf8_lower(rows[name]), "[^a-z0-9]", "") for name in texts}
    return pa.table(folded)
