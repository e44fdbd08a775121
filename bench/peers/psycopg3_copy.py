"""psycopg 3: COPY into a temporary table, then one upsert of what differs; about the best by hand."""

import sys

import psycopg
from table import CREATE, NAMES, SET, rows
from timing import timed

path, table = sys.argv[1:]
with timed("psycopg"):
    with psycopg.connect("") as connection, connection.cursor() as cursor:
        cursor.execute(CREATE.format(table=table))
        cursor.execute(f"create temp table stage on commit drop as select {NAMES} from {table} with no data")
        with cursor.copy(f"copy stage ({NAMES}) from stdin") as copy:
            for row in rows(path):
                copy.write_row(row)
        cursor.execute(
            f"insert into {table} as t ({NAMES}) select {NAMES} from stage on conflict (id) do update set {SET} "
            "where t is distinct from excluded"
        )
