"""dlt with what its documentation recommends for speed: Arrow tables, CSV files (COPY), the upsert strategy."""

import os
import sys

import dlt
import pyarrow
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet
from timing import timed

path, dataset = sys.argv[1:]


@dlt.resource(
    name="events",
    write_disposition={"disposition": "merge", "strategy": "upsert"},
    primary_key="id",
    # PostgreSQL reads the text of JSON as the time that it is
    columns={"ts": {"data_type": "timestamp"}},
)
def events():
    block = 16 << 20
    if path.endswith(".parquet"):
        yield from pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=100_000)
    elif path.endswith(".csv"):
        # the time stays text, as in the other formats
        options = {
            "read_options": pyarrow.csv.ReadOptions(block_size=block),
            "convert_options": pyarrow.csv.ConvertOptions(column_types={"ts": pyarrow.string()}),
        }
        with pyarrow.csv.open_csv(path, **options) as reader:
            yield from reader
    else:
        with pyarrow.json.open_json(path, read_options=pyarrow.json.ReadOptions(block_size=block)) as reader:
            yield from reader


if __name__ == "__main__":
    with timed("dlt", "pyarrow", "psycopg2-binary"):
        pipeline = dlt.pipeline(
            "peer", destination="postgres", dataset_name=dataset, pipelines_dir=os.environ["PIPELINES_DIR"]
        )
        pipeline.run(events(), loader_file_format="csv").raise_on_failed_jobs()
