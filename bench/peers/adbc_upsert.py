"""ADBC: COPY of Arrow batches into a temporary table, then one upsert of what differs."""

import sys
from contextlib import contextmanager

import adbc_driver_postgresql.dbapi as adbc
import pyarrow
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet
from table import CREATE, NAMES, upsert
from timing import timed

# what a file has as text becomes a time in PostgreSQL, as pyarrow reads no time with a zone from it
SCHEMA = pyarrow.schema([
    ("id", pyarrow.string()),
    ("type", pyarrow.string()),
    ("ts", pyarrow.string()),
    ("user_id", pyarrow.int64()),
    ("amount", pyarrow.float64()),
    ("country", pyarrow.string()),
    ("device", pyarrow.string()),
    ("returning", pyarrow.bool_()),
])
BLOCK = 16 << 20
FILES = {
    "ndjson": lambda path: pyarrow.json.open_json(
        path,
        read_options=pyarrow.json.ReadOptions(block_size=BLOCK),
        parse_options=pyarrow.json.ParseOptions(explicit_schema=SCHEMA),
    ),
    "csv": lambda path: pyarrow.csv.open_csv(
        path,
        read_options=pyarrow.csv.ReadOptions(block_size=BLOCK),
        convert_options=pyarrow.csv.ConvertOptions(column_types=SCHEMA),
    ),
}

path, table = sys.argv[1:]


@contextmanager
def batches():
    """Arrow batches of what is loaded."""
    if path.endswith((".ndjson", ".csv")):
        with FILES[path.rpartition(".")[2]](path) as reader:
            yield reader.cast(SCHEMA)
    elif path.endswith(".parquet"):
        file = pyarrow.parquet.ParquetFile(path)
        yield pyarrow.RecordBatchReader.from_batches(file.schema_arrow, file.iter_batches(batch_size=100_000))
    else:
        with adbc.connect("postgresql://") as connection, connection.cursor() as cursor:
            # a numeric comes as text
            cursor.execute(f"select {NAMES} from {path}")
            yield cursor.fetch_record_batch()


with timed("adbc-driver-postgresql", "pyarrow"):
    # libpq's environment says where
    with adbc.connect("postgresql://") as connection, connection.cursor() as cursor:
        cursor.execute(CREATE.format(table=table))
        with batches() as reader:
            cursor.adbc_ingest("stage", reader, mode="create", temporary=True)
        typed = NAMES.replace('"ts"', '"ts"::timestamptz').replace('"amount"', '"amount"::numeric')
        cursor.execute(upsert(table, typed))
        connection.commit()
