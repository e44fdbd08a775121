"""The table that the hand-written peers load into: the fields of a record as columns, what one would make."""

import json

COLUMNS = ["id", "type", "ts", "user_id", "amount", "country", "device", "returning"]
NAMES = ", ".join(f'"{name}"' for name in COLUMNS)
SET = ", ".join(f'"{name}" = excluded."{name}"' for name in COLUMNS if name != "id")

CREATE = """create table if not exists {table} (
  id text primary key, type text not null, ts timestamptz, user_id bigint, amount numeric,
  country text, device text, "returning" boolean)"""


def rows(path):
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            yield tuple(record[name] for name in COLUMNS)


def upsert(table, values=NAMES):
    """One statement that writes what is new or differs of a table `stage`."""
    return (
        f"insert into {table} as t ({NAMES}) select {values} from stage on conflict (id) do update set {SET} "
        "where t is distinct from excluded"
    )
