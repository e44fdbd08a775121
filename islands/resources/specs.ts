import type { MessageKey } from "../i18n/en.ts";

export type ResourceKind = "configurations" | "variables" | "pools" | "suites" | "datasets";
/** A row as its API gives it. */
export type Row = Record<string, unknown>;

/** An input of the editor. */
export interface EditorField {
  name: string;
  label: MessageKey;
  kind: "text" | "whole" | "json";
  help: MessageKey;
  /** Whether an empty input is sent as null. */
  optional?: boolean;
  /** Text of a new one's input. */
  initial?: string;
  /** Whether the JSON is a list, written an item a line. */
  list?: boolean;
}

export interface ResourceSpec {
  /** Where its API is. */
  api: string;
  /** What follows the name of a row there; default: nothing. */
  below?: string;
  /** Member that names a row. */
  key: string;
  /** What one of them is called, and what they are for. */
  noun: MessageKey;
  about: MessageKey;
  empty: MessageKey;
  removal: MessageKey;
  fields: EditorField[];
  /** Whether the body is the only field's JSON itself. */
  bare?: boolean;
  /** Rows that cannot be removed. */
  kept?: string[];
  /** Whether rows come by themselves, so that none is made here. */
  given?: boolean;
  /** Member that names what removing takes away, null where there is nothing; default: the key. */
  removable?: string;
}

export const SPECS: Record<ResourceKind, ResourceSpec> = {
  configurations: {
    api: "/api/configurations",
    key: "name",
    noun: "resource.configuration",
    about: "resource.configurations_about",
    empty: "resource.configurations_empty",
    removal: "resource.configuration_removal",
    fields: [
      {
        name: "description",
        label: "form.description",
        kind: "text",
        help: "resource.description_help",
        optional: true,
      },
      {
        name: "conf",
        label: "resource.conf",
        kind: "json",
        help: "resource.conf_help",
        initial: '{\n  "batch_size": 1000\n}',
      },
    ],
  },
  variables: {
    api: "/api/variables",
    key: "name",
    noun: "resource.variable",
    about: "resource.variables_about",
    empty: "resource.variables_empty",
    removal: "resource.variable_removal",
    fields: [{
      name: "value",
      label: "resource.value",
      kind: "json",
      help: "resource.value_help",
      initial: "1000",
    }],
  },
  pools: {
    api: "/api/pools",
    key: "pool",
    noun: "resource.pool",
    about: "resource.pools_about",
    empty: "resource.pools_empty",
    removal: "resource.pool_removal",
    kept: ["default_pool"],
    fields: [
      {
        name: "slots",
        label: "resource.slots",
        kind: "whole",
        help: "resource.slots_help",
        initial: "2",
      },
      {
        name: "description",
        label: "form.description",
        kind: "text",
        help: "resource.description_help",
        optional: true,
      },
    ],
  },
  suites: {
    api: "/api/suites",
    key: "name",
    noun: "resource.suite",
    about: "resource.suites_about",
    empty: "resource.suites_empty",
    removal: "resource.suite_removal",
    bare: true,
    fields: [{
      name: "suite",
      label: "resource.suite_json",
      kind: "json",
      help: "resource.suite_help",
      initial: JSON.stringify(
        {
          expectations: [{
            type: "expect_column_values_to_not_be_null",
            kwargs: { column: "event_id" },
          }],
        },
        null,
        2,
      ),
    }],
  },
  datasets: {
    api: "/api/datasets",
    below: "/columns",
    key: "dataset",
    noun: "resource.dataset",
    about: "resource.datasets_about",
    empty: "resource.datasets_empty",
    removal: "resource.dataset_removal",
    given: true,
    removable: "view",
    fields: [{
      name: "columns",
      label: "resource.columns",
      kind: "json",
      help: "resource.columns_help",
      list: true,
    }],
  },
};

/** Where the API has a row. */
export function rowPath({ api, below = "" }: ResourceSpec, name: string): string {
  return `${api}/${encodeURIComponent(name)}${below}`;
}

/** JSON as the editor shows it. */
export function editorText(value: unknown, { list }: Pick<EditorField, "list">): string {
  if (!list || !Array.isArray(value) || value.length === 0) return JSON.stringify(value, null, 2);
  return `[\n${value.map((item) => `  ${JSON.stringify(item)}`).join(",\n")}\n]`;
}
