/// <reference lib="dom" />
import { useEffect, useState } from "preact/hooks";
import type { KwargForm, ValidationResult } from "../../pipeline/expectations/expectations.ts";
import type { ColumnProposal } from "../../store/datasets.ts";
import type { Declared } from "../datasets/columns_editor.tsx";
import { type ApiError, call } from "../lib/api.ts";
import { focusAddAfter } from "../lib/focus.ts";
import { parseExact } from "../../vocabulary/exact_json.ts";
import { useLocale, useRole } from "../lib/context.tsx";
import { useTurns } from "../lib/turns.ts";
import { Icon, Notice } from "../ui/elements.tsx";
import { Result } from "../ui/expectation.tsx";
import { fieldText, fieldValue, holdsLongNumbers, type Row } from "./kwargs.ts";

interface DatasetRow {
  dataset: string;
  declared: Declared | null;
}

const pathOf = ({ path }: { path: string }) => path;

type Forms = Record<string, KwargForm[]>;

const SEVERITIES = ["critical", "warning", "info"];
/** Kwargs that few expectations have. */
const RARE = new Set(["row_condition", "condition_parser"]);

/** The suite that a text is, where a table can show all of it. */
function suiteOf(text: string): { expectations: Row[]; [more: string]: unknown } | null {
  if (holdsLongNumbers(text)) return null;
  try {
    const suite = JSON.parse(text);
    const fits = Array.isArray(suite?.expectations) &&
      suite.expectations.every((each: Row | null) =>
        typeof each?.type === "string" && typeof (each.kwargs ?? {}) === "object"
      );
    return fits ? suite : null;
  } catch {
    return null;
  }
}

interface EditorProps {
  /** The suite's JSON. */
  text: string;
  /** Its name, which may be that of a table. */
  name: string;
  onInput(text: string): void;
}

/** A suite as a table of its expectations, or as JSON; tried on a dataset's rows or on records. */
export function SuiteEditor({ text, name, onInput }: EditorProps) {
  const { t } = useLocale();
  const [forms, setForms] = useState<Forms | null>(null);
  const [asJson, setAsJson] = useState(false);
  const [rows, setRows] = useState<DatasetRow[]>([]);
  const [dataset, setDataset] = useState<string | null>(null);
  const [columns, setColumns] = useState<string[]>([]);
  const [failure, setFailure] = useState<string | null>(null);
  const offline = t("error.network");
  useEffect(() => {
    Promise.all([
      call<Forms>("/etl/data/expectations", { offline }),
      call<{ items: DatasetRow[] }>("/etl/data/datasets", { offline }),
    ]).then(([forms, { items }]) => {
      setForms(forms);
      setRows(items);
    }, (error: ApiError) => setFailure(error.message));
  }, []);
  const datasets = rows.map((each) => each.dataset);
  const own = datasets.find((each) => each === name || each.endsWith(`.${name}`));
  const chosen = dataset ?? own ?? (datasets[0] ?? "");
  useEffect(() => {
    const declared = rows.find((each) => each.dataset === chosen)?.declared ?? null;
    setColumns(declared?.columns.map(({ path }) => path) ?? []);
    if (chosen === "" || declared !== null) return;
    let left = false;
    const path = `/api/datasets/${encodeURIComponent(chosen)}/columns/proposal?sample=500`;
    call<ColumnProposal>(path, { offline })
      .then(
        (found) =>
          left ||
          setColumns(["event_id", "event_type", "occurred_at", ...found.columns.map(pathOf)]),
        () => {},
      );
    return () => void (left = true);
  }, [chosen]);
  const suite = forms === null ? null : suiteOf(text);
  const table = suite !== null && !asJson;
  return (
    <div class="stack tight">
      {failure !== null && <Notice kind="problem" alert title={failure} />}
      <div class="editor-head">
        <h3>{t("resource.expectations")}</h3>
        <div class="segmented" role="group" aria-label={t("suite.as")}>
          <button
            type="button"
            aria-pressed={table}
            disabled={suite === null}
            title={suite === null ? t("suite.only_json") : undefined}
            onClick={() => setAsJson(false)}
          >
            {t("suite.table")}
          </button>
          <button type="button" aria-pressed={!table} onClick={() => setAsJson(true)}>JSON</button>
        </div>
      </div>
      {table
        ? (
          <ExpectationTable
            rows={suite.expectations}
            forms={forms!}
            columns={columns}
            onChange={(expectations) =>
              onInput(JSON.stringify({ ...suite, expectations }, null, 2))}
          />
        )
        : (
          <div class="field">
            <label for="editor-suite">{t("resource.suite_json")}</label>
            <textarea
              id="editor-suite"
              rows={12}
              spellcheck={false}
              aria-describedby="editor-suite-help"
              value={text}
              onInput={(event) => {
                // it stays a text, also once a table could show it
                setAsJson(true);
                onInput(event.currentTarget.value);
              }}
            />
            <p class="field-help" id="editor-suite-help">{t("resource.suite_help")}</p>
          </div>
        )}
      <SuiteTrial suite={text} datasets={datasets} chosen={chosen} onChoose={setDataset} />
    </div>
  );
}

interface TableProps {
  rows: Row[];
  forms: Forms;
  /** Names to choose a column from. */
  columns: string[];
  onChange(rows: Row[]): void;
}

/** An expectation a row: its type, its column and other kwargs, and how bad it is when it fails. */
function ExpectationTable({ rows, forms, columns, onChange }: TableProps) {
  const { t } = useLocale();
  const types = Object.keys(forms);
  /** Counts removals: what is below a removed row is shown anew. */
  const [removals, setRemovals] = useState(0);
  const change = (at: number, changes: Partial<Row>) =>
    onChange(rows.map((row, i) => i === at ? { ...row, ...changes } : row));
  const retype = (at: number, type: string) => {
    const known = new Set(forms[type]!.map(({ name }) => name));
    const kept = Object.entries(rows[at]!.kwargs ?? {}).filter(([name]) => known.has(name));
    change(at, { type, kwargs: Object.fromEntries(kept) });
  };
  const setKwarg = (at: number, form: KwargForm, text: string) => {
    const { [form.name]: _before, ...others } = rows[at]!.kwargs ?? {};
    const value = fieldValue(form, text);
    change(at, { kwargs: value === undefined ? others : { ...others, [form.name]: value } });
  };
  return (
    <>
      <datalist id="suite-columns">
        {columns.map((each) => <option key={each} value={each} />)}
      </datalist>
      <ol class="expectation-rows">
        {rows.map((row, at) => {
          const known = forms[row.type] ?? [];
          const names = new Set(known.map(({ name }) => name));
          // what this version does not know is shown, so that it is not lost unseen
          const others = Object.keys(row.kwargs ?? {}).filter((name) => !names.has(name))
            .map((name): KwargForm => ({ name, kind: "json", required: false }));
          const field = (form: KwargForm) => (
            <Kwarg
              key={`${removals} ${row.type} ${form.name}`}
              id={`suite-${at}-${form.name}`}
              form={form}
              value={row.kwargs?.[form.name]}
              onChange={(text) => setKwarg(at, form, text)}
            />
          );
          const given = (form: KwargForm) => row.kwargs?.[form.name] !== undefined;
          const all = [...known, ...others];
          const rare = all.filter((form) => RARE.has(form.name) && !given(form));
          return (
            <li key={at} aria-label={t("suite.expectation", { n: at + 1 })}>
              <div class="fields expectation-fields">
                <div class="field wide">
                  <label for={`suite-${at}-type`}>{t("suite.type")}</label>
                  <select
                    id={`suite-${at}-type`}
                    onChange={(event) => retype(at, event.currentTarget.value)}
                  >
                    {[...types, ...(types.includes(row.type) ? [] : [row.type])].map((type) => (
                      <option key={type} value={type} selected={type === row.type}>
                        {type.replace(/^expect_/, "").replaceAll("_", " ")}
                      </option>
                    ))}
                  </select>
                </div>
                {all.filter((form) => !rare.includes(form)).map(field)}
                <div class="field">
                  <label for={`suite-${at}-severity`}>{t("suite.severity")}</label>
                  <select
                    id={`suite-${at}-severity`}
                    onChange={(event) => change(at, { severity: event.currentTarget.value })}
                  >
                    {SEVERITIES.map((each) => (
                      <option
                        key={each}
                        value={each}
                        selected={each === (row.severity ?? "critical")}
                      >
                        {t(`suite.${each}` as "suite.info")}
                      </option>
                    ))}
                  </select>
                </div>
              </div>
              {rare.length > 0 && (
                <details class="fold">
                  <summary>{t("suite.condition")}</summary>
                  <div class="fields expectation-fields">{rare.map(field)}</div>
                </details>
              )}
              <button
                type="button"
                class="button plain icon-only expectation-remove"
                aria-label={t("suite.remove", { n: at + 1 })}
                title={t("suite.remove", { n: at + 1 })}
                onClick={(event) => {
                  focusAddAfter(event);
                  setRemovals(removals + 1);
                  onChange(rows.filter((_, i) => i !== at));
                }}
              >
                <Icon name="trash" />
              </button>
            </li>
          );
        })}
      </ol>
      <div>
        <button
          type="button"
          class="button"
          data-add
          onClick={() =>
            onChange([...rows, {
              type: "expect_column_values_to_not_be_null",
              kwargs: {},
            }])}
        >
          <Icon name="plus" /> {t("suite.add")}
        </button>
      </div>
    </>
  );
}

interface KwargProps {
  id: string;
  form: KwargForm;
  value: unknown;
  onChange(text: string): void;
}

/** A kwarg in the input that fits it. What is typed stays as it is typed, whatever it stands for meanwhile. */
function Kwarg({ id, form, value, onChange }: KwargProps) {
  const { t } = useLocale();
  const [text, setText] = useState(() => fieldText(form, value));
  const change = (text: string) => {
    setText(text);
    onChange(text);
  };
  const label = (
    <label for={id}>
      <code>{form.name}</code> {form.required && <span class="required">{t("form.required")}</span>}
    </label>
  );
  const onSelect = (event: Event) => change((event.currentTarget as HTMLSelectElement).value);
  if (form.kind === "flag" || form.kind === "choice") {
    const options = form.kind === "flag" ? ["true", "false"] : form.options!;
    return (
      <div class="field">
        {label}
        <select id={id} onChange={onSelect}>
          <option value="" selected={text === ""}>{t("form.not_given")}</option>
          {[...options, ...(text === "" || options.includes(text) ? [] : [text])].map((each) => (
            <option key={each} value={each} selected={each === text}>
              {each === "true" ? t("form.yes") : each === "false" ? t("form.no") : each}
            </option>
          ))}
        </select>
      </div>
    );
  }
  const isList = form.kind === "texts" || form.kind === "values";
  if (isList || form.kind === "json") {
    return (
      <div class="field">
        {label}
        <textarea
          id={id}
          rows={isList ? 3 : 4}
          spellcheck={false}
          aria-describedby={isList ? `${id}-help` : undefined}
          value={text}
          onInput={(event) => change(event.currentTarget.value)}
        />
        {isList && <p class="field-help" id={`${id}-help`}>{t("suite.one_a_line")}</p>}
      </div>
    );
  }
  return (
    <div class="field">
      {label}
      <input
        id={id}
        type="text"
        autocomplete="off"
        spellcheck={false}
        inputMode={form.kind === "number" ? "decimal" : undefined}
        list={/^column(_[AB])?$/.test(form.name) ? "suite-columns" : undefined}
        value={text}
        onInput={(event) => change(event.currentTarget.value)}
      />
    </div>
  );
}

const SAMPLE = '[\n  {"event_id": "1", "event_type": "order", "payload": {"amount": 12.5}}\n]';
/** Stands for records of one's own among datasets. */
const OWN = "";

interface TrialProps {
  suite: string;
  datasets: string[];
  chosen: string;
  onChoose(dataset: string): void;
}

/** Judges rows of a dataset, or a sample, by what the editor holds, without storing anything. */
function SuiteTrial({ suite, datasets, chosen, onChoose }: TrialProps) {
  const { t } = useLocale();
  const operator = useRole("operator");
  const [records, setRecords] = useState(SAMPLE);
  const [outcome, setOutcome] = useState<ValidationResult | string | null>(null);
  const [busy, setBusy] = useState(false);
  const turns = useTurns();
  const judge = async () => {
    const isLast = turns();
    setBusy(true);
    try {
      const judged = await call<ValidationResult>("/api/suites/try", {
        method: "POST",
        body: {
          suite: parseExact(suite),
          ...(chosen === OWN ? { records: parseExact(records) } : { dataset: chosen }),
        },
        offline: t("error.network"),
      });
      if (!isLast()) return;
      setOutcome(judged);
    } catch (error) {
      if (!isLast()) return;
      setOutcome(
        error instanceof SyntaxError
          ? t("resource.not_json", { message: error.message })
          : (error as ApiError).errors.map(({ field, message }) => `${field}: ${message}`)
            .join("; ") || (error as ApiError).message,
      );
    }
    setBusy(false);
  };
  const judged = outcome !== null && typeof outcome === "object" ? outcome : null;
  return (
    <details class="trial">
      <summary>{t("resource.try")}</summary>
      <div class="stack tight">
        <div class="field">
          <label for="trial-dataset">{t("suite.try_on")}</label>
          <select
            id="trial-dataset"
            onChange={(event) => {
              turns();
              setBusy(false);
              setOutcome(null);
              onChoose(event.currentTarget.value);
            }}
          >
            {datasets.map((each) => (
              <option key={each} value={each} selected={each === chosen}>{each}</option>
            ))}
            <option value={OWN} selected={chosen === OWN}>{t("suite.own_records")}</option>
          </select>
        </div>
        {chosen === OWN && (
          <div class="field">
            <label for="trial-records">{t("resource.sample")}</label>
            <textarea
              id="trial-records"
              rows={5}
              spellcheck={false}
              value={records}
              onInput={(event) => setRecords(event.currentTarget.value)}
            />
          </div>
        )}
        <div>
          <button
            type="button"
            class="button"
            onClick={judge}
            {...operator.control(busy)}
          >
            {t("resource.judge")}
          </button>
        </div>
        {typeof outcome === "string" && <Notice kind="problem" alert title={outcome} />}
        <div role="status">
          {judged !== null && (
            <>
              <p class={judged.success ? "is-good" : "is-bad"}>
                {t("run.expectations_met", {
                  good: judged.statistics.successful_expectations,
                  n: judged.statistics.evaluated_expectations,
                })}
              </p>
              <ul class="rows">
                {judged.results.map((result, index) => <Result key={index} result={result} />)}
              </ul>
            </>
          )}
        </div>
      </div>
    </details>
  );
}
