"""An open benchmark for charting: populations of really trained small networks whose lineage is known."""
