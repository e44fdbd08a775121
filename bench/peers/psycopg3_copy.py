"""
psycopg 3: COPY into a temporary table, then one upsert of what differs; about the best by hand. A CSV file goes to COPY as it
is, a table from one connection's COPY to the other's.
"""

import sys

import psycopg
from table import CREATE, NAMES, rows, upsert
from timing import timed

path, table = sys.argv[1:]


def fill(cursor):
    if path.endswith(".csv"):
        with open(path, "rb") as file, cursor.copy(f"copy stage ({NAMES}) from stdin (format csv, header)") as copy:
            while block := file.read(1 << 18):
                copy.write(block)
    elif path.endswith(".ndjson"):
        with cursor.copy(f"copy stage ({NAMES}) from stdin") as copy:
            for row in rows(path):
                copy.write_row(row)
    else:
        with psycopg.connect("") as source, source.cursor() as reading:
            with reading.copy(f"copy (select {NAMES} from {path}) to stdout (format binary)") as blocks:
                with cursor.copy(f"copy stage ({NAMES}) from stdin (format binary)") as copy:
                    for block in blocks:
                        copy.write(block)


with timed("psycopg"):
    with psycopg.connect("") as connection, connection.cursor() as cursor:
        cursor.execute(CREATE.format(table=table))
        cursor.execute(f"create temp table stage on commit drop as select {NAMES} from {table} with no data")
        fill(cursor)
        cursor.execute(upsert(table))
