"""Loads finished rows with psycopg2's execute_values and ON CONFLICT, one transaction.

Arguments: table, columns separated by commas, file of COPY text, rows at most.
Prints the seconds that loading took, without reading the file.
"""

import re
import sys
import time

import psycopg2
from psycopg2.extras import execute_values

ESCAPES = {"\\\\": "\\", "\\t": "\t", "\\n": "\n", "\\r": "\r"}


def value(text):
    if text == "\\N":
        return None
    return re.sub(r"\\.", lambda match: ESCAPES[match.group()], text) if "\\" in text else text


def main():
    table, columns, path, limit = sys.argv[1:]
    rows = []
    with open(path, encoding="utf-8", newline="\n") as lines:
        for line in lines:
            rows.append(tuple(map(value, line[:-1].split("\t"))))
            if len(rows) >= int(limit):
                break
    names = columns.split(",")
    assignments = ", ".join(f"{name} = excluded.{name}" for name in names if name != "event_id")
    connection = psycopg2.connect("")
    started = time.perf_counter()
    with connection, connection.cursor() as cursor:
        execute_values(
            cursor,
            f"insert into {table} as t ({columns}) values %s on conflict (event_id) do update set "
            f"{assignments} where t.fingerprint is distinct from excluded.fingerprint",
            rows,
            page_size=1000,
            # psycopg2 sends text; the types have to be named where they are not text
            template="(%s, %s, %s::timestamptz, %s, %s::numeric, %s::jsonb, %s::bytea, %s::date, %s::smallint, %s::uuid)",
        )
    print(time.perf_counter() - started)


main()
