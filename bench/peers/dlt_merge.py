"""dlt into PostgreSQL as its documentation begins: pages of dicts, write disposition merge, a primary key."""

import json
import os
import sys
from itertools import islice

import dlt
from timing import timed

path, dataset = sys.argv[1:]


# some amounts are whole numbers in JSON: without the hint they become two columns
@dlt.resource(
    name="events", write_disposition="merge", primary_key="id", columns={"amount": {"data_type": "double"}}
)
def events():
    with open(path, encoding="utf-8") as lines:
        # pages instead of rows, as "Optimizing dlt" says
        while page := [json.loads(line) for line in islice(lines, 5000)]:
            yield page


# its workers are started as processes of this file
if __name__ == "__main__":
    with timed("dlt", "psycopg2-binary"):
        pipeline = dlt.pipeline(
            "peer", destination="postgres", dataset_name=dataset, pipelines_dir=os.environ["PIPELINES_DIR"]
        )
        pipeline.run(events()).raise_on_failed_jobs()
