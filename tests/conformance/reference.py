"""Evaluates suites with Great Expectations itself.

Reads cases from the JSON file given as first argument and writes the results
of each, in the order of its expectations, to the second. A case has records,
the nested paths that its suite needs as columns, column names for when there
are no records, expectations, and the engine: pandas or sqlite.
"""

import json
import logging
import os
import sys
import tempfile
import warnings

os.environ["GX_ANALYTICS_ENABLED"] = "false"
warnings.filterwarnings("ignore")

import great_expectations as gx  # noqa: E402
import pandas as pd  # noqa: E402
import sqlalchemy as sa  # noqa: E402

logging.disable(logging.CRITICAL)


@sa.event.listens_for(sa.pool.Pool, "connect")
def like_is_case_sensitive(connection, _record):
    # As LIKE is in PostgreSQL.
    connection.execute("PRAGMA case_sensitive_like = ON")


def at_path(record, path):
    for part in path.split("."):
        if isinstance(record, dict) and part in record:
            record = record[part]
        elif isinstance(record, list) and part.isdigit() and int(part) < len(record):
            record = record[int(part)]
        else:
            return None
    return record


def frame(case):
    records = case["records"]
    if not records:
        return pd.DataFrame({name: pd.Series([], dtype=object) for name in case["columns"]})
    data = pd.DataFrame(records)
    if case["paths"]:
        nested = pd.DataFrame([{p: at_path(r, p) for p in case["paths"]} for r in records])
        data = pd.concat([data, nested], axis=1)
    for name in case.get("dates", []):
        dates_alone = data[name].dropna().str.len().max() == 10
        times = pd.to_datetime(data[name]).astype("datetime64[ns]")
        data[name] = times.dt.date if dates_alone else times
    return data


def batch(context, number, case):
    name = f"case{number}"
    data = frame(case)
    if case["engine"] == "sqlite":
        file = os.path.join(tempfile.mkdtemp(), "data.db")
        data.to_sql("data", sa.create_engine(f"sqlite:///{file}"), index=False)
        source = context.data_sources.add_sqlite(name, connection_string=f"sqlite:///{file}")
        definition = source.add_table_asset(name, table_name="data").add_batch_definition_whole_table(name)
        return definition.get_batch()
    source = context.data_sources.add_pandas(name)
    definition = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe(name)
    return definition.get_batch({"dataframe": data})


def evaluate(context, number, case):
    expectations, results = [], [None] * len(case["expectations"])
    for i, expectation in enumerate(case["expectations"]):
        try:
            one = {**expectation, "meta": {"number": i}}
            expectations.append(gx.ExpectationSuite(name=f"s{i}", expectations=[one]).expectations[0])
        except Exception as error:  # the suite itself is refused
            results[i] = {"refused": str(error)[:500]}
    suite = gx.ExpectationSuite(name="suite", expectations=expectations)
    validation = batch(context, number, case).validate(suite).to_json_dict()
    for result in validation["results"]:
        info = result["exception_info"]
        nested = info.values() if "raised_exception" not in info else [info]
        raised = any(one["raised_exception"] for one in nested)
        results[result["expectation_config"]["meta"]["number"]] = {
            "success": bool(result["success"]),
            "result": result["result"],
            "raised": raised,
            "message": "; ".join(str(one["exception_message"])[:300] for one in nested if raised),
        }
    return results


def plain(value):
    """numpy's scalars as Python's own."""
    return value.item() if hasattr(value, "item") else str(value)


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        cases = json.load(file)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    answers = [evaluate(context, number, case) for number, case in enumerate(cases)]
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        json.dump(answers, file, default=plain)


main()
