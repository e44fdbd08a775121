"""sling, mode incremental with a primary key, into a table that has it: new rows are inserted, the others updated."""

import json
import os
import subprocess
import sys
from importlib.metadata import files

import psycopg
from table import CREATE
from timing import timed

path, table = sys.argv[1:]
dsn = os.environ["DESTINATION__POSTGRES__CREDENTIALS"]
binary = next(str(file.locate()) for file in files("sling-linux-amd64") if file.name == "sling-linux-amd64")
with psycopg.connect("") as connection:
    connection.execute(CREATE.format(table=table))
environment = {
    "HOME": os.environ["PIPELINES_DIR"],
    "PATH": os.environ["PATH"],
    "BENCH": f"{dsn}{'&' if '?' in dsn else '?'}sslmode=disable",
    # it tells nobody, and asks nobody for a newer version
    "SLING_DISABLE_TELEMETRY": "true",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
}
os.makedirs(environment["HOME"], exist_ok=True)
OPTIONS = {"ndjson": {"format": "jsonlines", "flatten": True}, "csv": {"format": "csv"}, "parquet": {"format": "parquet"}}
options = next((options for end, options in OPTIONS.items() if path.endswith(f".{end}")), None)
source = (
    ["--src-conn", "BENCH", "--src-stream", path]
    if options is None
    else ["--src-stream", f"file://{path}", "--src-options", json.dumps(options)]
)
with timed("sling-linux-amd64"):
    ran = subprocess.run(
        [
            *(binary, "run", *source),
            *("--tgt-conn", "BENCH", "--tgt-object", table, "--mode", "incremental", "--primary-key", "id"),
        ],
        env=environment,
        capture_output=True,
        text=True,
    )
    if ran.returncode != 0:
        raise SystemExit(f"{ran.stdout[-2000:]}\n{ran.stderr[-2000:]}")
