"""dlt with what its documentation recommends for speed: Arrow tables, CSV files (COPY), the upsert strategy."""

import os
import sys

import dlt
import pyarrow.json
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
    options = pyarrow.json.ReadOptions(block_size=16 << 20)
    with pyarrow.json.open_json(path, read_options=options) as reader:
        for batch in reader:
            yield batch


if __name__ == "__main__":
    with timed("dlt", "pyarrow", "psycopg2-binary"):
        pipeline = dlt.pipeline(
            "peer", destination="postgres", dataset_name=dataset, pipelines_dir=os.environ["PIPELINES_DIR"]
        )
        pipeline.run(events(), loader_file_format="csv").raise_on_failed_jobs()
