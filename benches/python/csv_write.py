"""Times pandas' to_csv on the table that `benches/csv_write.rs` wrote as parquet.

usage: python csv_write.py TABLE.parquet OUT.csv
Prints one line of JSON: seconds, and the bytes of the file.
"""

import json
import os
import sys
import time

import pandas as pd

frame = pd.read_parquet(sys.argv[1])
start = time.perf_counter()
frame.to_csv(sys.argv[2], index=False)
print(json.dumps({"seconds": time.perf_counter() - start, "bytes": os.path.getsize(sys.argv[2])}))
