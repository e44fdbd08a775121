"""ADBC: COPY of Arrow batches into a temporary table, then one upsert of what differs."""

import sys

import adbc_driver_postgresql.dbapi as adbc
import pyarrow
import pyarrow.json
from table import CREATE, NAMES, SET
from timing import timed

SCHEMA = pyarrow.schema([
    ("id", pyarrow.string()),
    ("type", pyarrow.string()),
    ("ts", pyarrow.timestamp("us", tz="UTC")),
    ("user_id", pyarrow.int64()),
    ("amount", pyarrow.float64()),
    ("country", pyarrow.string()),
    ("device", pyarrow.string()),
    ("returning", pyarrow.bool_()),
])

path, table = sys.argv[1:]
with timed("adbc-driver-postgresql", "pyarrow"):
    # libpq's environment says where
    with adbc.connect("postgresql://") as connection, connection.cursor() as cursor:
        cursor.execute(CREATE.format(table=table))
        # what JSON has as text becomes a time in PostgreSQL, as pyarrow reads no time with a zone from JSON
        schema = SCHEMA.set(2, pyarrow.field("ts", pyarrow.string()))
        options = {
            "read_options": pyarrow.json.ReadOptions(block_size=16 << 20),
            "parse_options": pyarrow.json.ParseOptions(explicit_schema=schema),
        }
        with pyarrow.json.open_json(path, **options) as batches:
            cursor.adbc_ingest("stage", batches.cast(schema), mode="create", temporary=True)
        typed = NAMES.replace('"ts"', '"ts"::timestamptz')
        cursor.execute(
            f"insert into {table} as t ({NAMES}) select {typed} from stage on conflict (id) do update set {SET} "
            "where t is distinct from excluded"
        )
        connection.commit()
