import type { PythonType } from "./python_value.ts";

/**
 * Type names of expectations, and the types that pandas would give a column
 * of JSON values. A column is int64, uint64, float64, bool or str when all of
 * its values fit, and object otherwise.
 */
export type ColumnType = "int64" | "uint64" | "float64" | "bool" | "str" | "object_";

export interface TypeName {
  /** Column types that have this name. */
  columns: ColumnType[];
  /** Python types of single values that have this name, in object columns. */
  values: PythonType[];
}

const t = (columns: ColumnType[], values: PythonType[] = []): TypeName => ({ columns, values });

const TYPE_NAMES = {
  int: t(["int64"], ["int", "bool"]),
  long: t(["int64"], ["int", "bool"]),
  int8: t([]),
  int16: t([]),
  int32: t([]),
  int64: t(["int64"]),
  uint8: t([]),
  uint16: t([]),
  uint32: t([]),
  uint64: t(["uint64"]),
  Int64Dtype: t([]),
  float: t(["float64"], ["float"]),
  float16: t([]),
  float32: t([]),
  float64: t(["float64"]),
  double: t(["float64"]),
  Float64Dtype: t([]),
  bool: t(["bool"], ["bool"]),
  bool_: t(["bool"]),
  BooleanDtype: t([]),
  str: t(["str"], ["str"]),
  string_types: t(["str"], ["str"]),
  StringDtype: t([]),
  object: t(["object_"]),
  object_: t(["object_"]),
  O: t(["object_"]),
  list: t([], ["list"]),
  dict: t([], ["dict"]),
  none: t([], ["NoneType"]),
  bytes: t([]),
  complex: t([]),
  Timestamp: t([]),
  datetime64: t([]),
  DatetimeTZDtype: t([]),
  CategoricalDtype: t([]),
} satisfies Record<string, TypeName>;

export const ALL_TYPE_NAMES = Object.keys(TYPE_NAMES) as [string, ...string[]];

export function typeName(name: string): TypeName {
  return TYPE_NAMES[name as keyof typeof TYPE_NAMES];
}

/** How many values of each kind a column has. */
export interface TypeCounts {
  null: number;
  bool: number;
  /** Integers that fit 64 bits with sign. */
  int: number;
  /** Integers that only fit 64 bits without sign. */
  uint: number;
  /** Integers beyond 64 bits, and negative ones beside `uint`. */
  huge: number;
  negative: number;
  float: number;
  str: number;
  list: number;
  dict: number;
}

export function noTypes(): TypeCounts {
  return {
    null: 0,
    bool: 0,
    int: 0,
    uint: 0,
    huge: 0,
    negative: 0,
    float: 0,
    str: 0,
    list: 0,
    dict: 0,
  };
}

/** The dtype that `pandas.DataFrame(records)` infers for a column (pandas 3). */
export function columnType(counts: TypeCounts): ColumnType {
  const integers = counts.int + counts.uint + counts.huge;
  const numbers = integers + counts.float;
  const kinds = [counts.bool, numbers, counts.str, counts.list, counts.dict].filter((n) => n > 0);
  if (kinds.length !== 1 || counts.list > 0 || counts.dict > 0) return "object_";
  if (counts.str > 0) return "str";
  if (counts.bool > 0) return counts.null > 0 ? "object_" : "bool";
  if (counts.huge > 0 || (counts.uint > 0 && counts.negative > 0 && counts.float === 0)) {
    return "object_";
  }
  if (counts.float > 0 || counts.null > 0) return "float64";
  return counts.uint > 0 ? "uint64" : "int64";
}
