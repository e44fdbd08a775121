import { datedRecords, nestedRecords, vegaRecords, ZOO, zooRecords } from "./data.ts";
import {
  columnExpectations,
  conditionedExpectations,
  dateExpectations,
  likeExpectations,
  listExpectations,
  pairExpectations,
  tableExpectations,
} from "./expectations.ts";
import type { Case } from "./reference.ts";

const WHOLE = '[{"a": 5.0}, {"a": 7.0}]';
const NUMBERED = '[{"b": 1, "2": 1, "1": 1}]';

/** Every data set with the expectations that both sides evaluate on it. */
export async function allCases(): Promise<Case[]> {
  const zoo = Object.keys(ZOO);
  const table = { engine: "pandas" as const, paths: [], columns: [] };
  const paths = ["part.name", "part.sizes.0", "part.sizes.2"];
  const flights = await vegaRecords("flights-2k.json", 500);
  const movies = await vegaRecords("movies.json", 1_000);
  return [
    ...zoo.map((column) => ({
      ...table,
      name: `column ${column}`,
      records: zooRecords(),
      expectations: columnExpectations(column),
    })),
    {
      ...table,
      name: "pairs and lists",
      records: zooRecords(),
      expectations: [
        ...pairExpectations("ints", "ints_null"),
        ...pairExpectations("floats", "ints"),
        ...pairExpectations("text", "text_null"),
        ...pairExpectations("text", "ints"),
        ...pairExpectations("ints_null", "nothing"),
        ...listExpectations(["ints", "ints_null"]),
        ...listExpectations(["ints", "sorted", "ints_null"]),
        ...listExpectations(["text", "text_null"]),
        ...listExpectations(["constant", "bools"]),
        ...tableExpectations(zoo, 12),
        ...tableExpectations(zoo, 11),
        { type: "expect_column_values_to_be_between", kwargs: { column: "absent", min_value: 0 } },
        { type: "expect_column_values_to_not_be_null", kwargs: { column: "absent" } },
        { type: "expect_column_to_exist", kwargs: { column: "absent" } },
      ],
    },
    {
      ...table,
      name: "nested fields and conditions",
      records: nestedRecords(),
      paths,
      expectations: [
        ...conditionedExpectations(),
        ...paths.flatMap((path) =>
          columnExpectations(path).filter(({ type }) => type !== "expect_column_to_exist")
        ),
        ...columnExpectations("optional"),
      ],
    },
    {
      ...table,
      name: "no records",
      records: [],
      columns: ["ints", "b"],
      expectations: [
        ...columnExpectations("ints").filter(({ type }) =>
          type !== "expect_column_to_exist" && !type.includes("type")
        ),
        ...pairExpectations("ints", "b"),
        ...listExpectations(["ints", "b"]),
        { type: "expect_table_row_count_to_equal", kwargs: { value: 0 } },
      ],
    },
    {
      ...table,
      name: "dates",
      dates: ["day", "time"],
      records: datedRecords(),
      expectations: dateExpectations(),
    },
    {
      ...table,
      name: "whole floats",
      differs: "JSON.parse does not tell 5.0 from 5",
      json: WHOLE,
      records: JSON.parse(WHOLE),
      expectations: [
        { type: "expect_column_values_to_be_of_type", kwargs: { column: "a", type_: "float64" } },
        { type: "expect_column_value_lengths_to_equal", kwargs: { column: "a", value: 1 } },
      ],
    },
    {
      ...table,
      name: "big integers beside nulls",
      differs: "they are rounded to floats there",
      records: [{ a: 2n ** 53n }, { a: 2n ** 53n + 1n }, { a: null }],
      expectations: [
        { type: "expect_column_values_to_be_unique", kwargs: { column: "a" } },
        {
          type: "expect_column_unique_value_count_to_be_between",
          kwargs: { column: "a", min_value: 2 },
        },
      ],
    },
    {
      ...table,
      name: "fields named by whole numbers",
      differs: "objects of JavaScript have them first, in order",
      json: NUMBERED,
      records: JSON.parse(NUMBERED),
      expectations: [
        {
          type: "expect_table_columns_to_match_ordered_list",
          kwargs: { column_list: ["b", "2", "1"] },
        },
      ],
    },
    {
      ...table,
      name: "LIKE",
      engine: "sqlite",
      records: zooRecords().map(({ text, text_null, unicode }) => ({ text, text_null, unicode })),
      expectations: ["text", "text_null", "unicode"].flatMap(likeExpectations),
    },
    {
      ...table,
      name: "flights",
      records: flights,
      expectations: [
        ...["delay", "distance", "origin", "date"].flatMap(columnExpectations),
        ...pairExpectations("delay", "distance"),
        ...listExpectations(["origin", "destination"]),
        ...tableExpectations(Object.keys(flights[0]!), flights.length),
      ],
    },
    {
      ...table,
      name: "movies",
      records: movies,
      expectations: [
        "Title",
        "IMDB Rating",
        "US Gross",
        "Major Genre",
      ].flatMap(columnExpectations),
    },
  ];
}
