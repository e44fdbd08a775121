"""psycopg2's execute_values, 1,000 rows a page, with ON CONFLICT: how the original system loads."""

import sys

import psycopg2
from psycopg2.extras import execute_values
from table import CREATE, NAMES, SET, rows
from timing import timed

path, table = sys.argv[1:]
with timed("psycopg2-binary"):
    connection = psycopg2.connect("")
    with connection, connection.cursor() as cursor:
        cursor.execute(CREATE.format(table=table))
        execute_values(
            cursor,
            f"insert into {table} ({NAMES}) values %s on conflict (id) do update set {SET}",
            rows(path),
            page_size=1000,
        )
    connection.close()
