/// <reference lib="dom" />
import { useEffect, useState } from "preact/hooks";
import type { Preview } from "../../pipeline/preview.ts";
import { type ApiError, call } from "../lib/api.ts";
import { fieldIn } from "./conf.ts";
import { useLocale, useRole } from "../lib/context.tsx";
import { Icon, Notice } from "../ui/elements.tsx";

/** An entry of a folder of the data directory. */
export interface DataEntry {
  name: string;
  folder: boolean;
  /** Null of a folder. */
  bytes: number | null;
}

/** A file that was chosen on the viewer's own machine. */
export interface Upload {
  file: File;
  /** Media type that its data are sent as. */
  type: string;
}

const MEDIA_TYPES: Record<string, string> = {
  csv: "text/csv",
  txt: "text/csv",
  tsv: "text/tab-separated-values",
  ndjson: "application/x-ndjson",
  jsonl: "application/x-ndjson",
  parquet: "application/vnd.apache.parquet",
  arrow: "application/vnd.apache.arrow.file",
  feather: "application/vnd.apache.arrow.file",
};

/** Of text so much is sent for a preview, and no part of a line. */
const TEXT_BYTES = 1 << 20;

/** The beginning of an upload, which is enough for a preview; what is no text is sent whole. */
export async function beginning({ file, type }: Upload): Promise<Blob> {
  if (file.size <= TEXT_BYTES || type.includes("apache")) return file;
  const bytes = new Uint8Array(await file.slice(0, TEXT_BYTES).arrayBuffer());
  const end = bytes.lastIndexOf(10);
  return end < 0 ? file : file.slice(0, end + 1);
}

interface PickerProps {
  /** The path that is chosen; "": none. */
  value: string;
  onChoose(path: string): void;
}

/** The files of the data directory, to choose one. */
export function FilePicker({ value, onChoose }: PickerProps) {
  const { t, number } = useLocale();
  const operator = useRole("operator");
  const [folder, setFolder] = useState<string | null>(null);
  const [found, setFound] = useState<{ entries: DataEntry[]; more: boolean } | null>(null);
  const [failure, setFailure] = useState<string | null>(null);
  const [search, setSearch] = useState("");
  useEffect(() => {
    if (folder === null) return;
    setFound(null);
    setFailure(null);
    setSearch("");
    // of a folder that was left, an answer comes too late
    let left = false;
    call<typeof found>(`/etl/data/files?folder=${encodeURIComponent(folder)}`, {
      offline: t("error.network"),
    }).then(
      (listed) => left || setFound(listed),
      (error: ApiError) => left || setFailure(error.message),
    );
    return () => void (left = true);
  }, [folder]);
  if (folder === null) {
    return (
      <button
        type="button"
        class="button only-with-script"
        onClick={() => setFolder(value.includes("/") ? value.replace(/\/[^/]*$/, "") : "")}
        {...operator.control()}
      >
        <Icon name="datasets" /> {t("form.browse")}
      </button>
    );
  }
  const below = (name: string) => folder === "" ? name : `${folder}/${name}`;
  const shown =
    found?.entries.filter(({ name }) => name.toLowerCase().includes(search.toLowerCase())) ?? [];
  return (
    <div class="picker" role="group" aria-label={t("form.browse")}>
      <div class="picker-head">
        <code class="clip">{`/${folder}`}</code>
        <input
          type="search"
          aria-label={t("form.find_file")}
          placeholder={t("form.find_file")}
          value={search}
          onInput={(event) => setSearch(event.currentTarget.value)}
          // it would send the form around it
          onKeyDown={(event) => event.key === "Enter" && event.preventDefault()}
        />
        <button
          type="button"
          class="button plain icon-only"
          aria-label={t("action.close")}
          onClick={() => setFolder(null)}
        >
          <Icon name="close" />
        </button>
      </div>
      {failure !== null && <Notice kind="problem" alert title={failure} />}
      <ul class="picker-list" tabIndex={0} aria-label={t("form.files")}>
        {folder !== "" && (
          <li>
            <button type="button" onClick={() => setFolder(folder.replace(/\/?[^/]*$/, ""))}>
              <Icon name="left" /> {t("form.folder_up")}
            </button>
          </li>
        )}
        {shown.map(({ name, folder: isFolder, bytes }) => (
          <li key={name}>
            <button
              type="button"
              aria-pressed={isFolder ? undefined : value === below(name)}
              onClick={() => {
                if (isFolder) return setFolder(below(name));
                onChoose(below(name));
                setFolder(null);
              }}
            >
              <Icon name={isFolder ? "right" : "reports"} /> <span class="clip">{name}</span>
              {bytes !== null && (
                <span class="quiet">
                  {number(bytes / 1000, { maximumFractionDigits: bytes < 1e5 ? 1 : 0 })} kB
                </span>
              )}
            </button>
          </li>
        ))}
      </ul>
      {found?.entries.length === 0 && <p class="quiet">{t("form.no_files")}</p>}
      {found?.more && <p class="quiet">{t("form.more_files")}</p>}
    </div>
  );
}

interface UploadProps {
  upload: Upload | null;
  onChoose(upload: Upload | null): void;
}

/** A file of the viewer's own machine, sent with the request. */
export function UploadField({ upload, onChoose }: UploadProps) {
  const { t } = useLocale();
  const [wrong, setWrong] = useState<string | null>(null);
  return (
    <div class="field wide only-with-script">
      <label for="upload">{t("form.upload")}</label>
      <input
        id="upload"
        type="file"
        accept={Object.keys(MEDIA_TYPES).map((ending) => `.${ending}`).join(",")}
        aria-describedby="upload-help"
        onChange={(event) => {
          const file = event.currentTarget.files?.[0];
          const ending = /\.([a-z0-9]+)$/i.exec(file?.name ?? "")?.[1]?.toLowerCase() ?? "";
          const type = MEDIA_TYPES[ending];
          setWrong(file !== undefined && type === undefined ? file.name : null);
          onChoose(file === undefined || type === undefined ? null : { file, type });
        }}
      />
      {wrong !== null && (
        <p class="field-error">
          {t("form.upload_type", { endings: Object.keys(MEDIA_TYPES).join(", ") })}
        </p>
      )}
      <p class="field-help" id="upload-help">
        {upload === null ? t("form.upload_help") : upload.file.name}
      </p>
    </div>
  );
}

/** A column that records have. */
export interface Column {
  /** As a conf names it: a dot inside a name is written "\." */
  path: string;
  /** As `source.columns` names it; null of what is nested. */
  name: string | null;
  /** Different values, as text. */
  examples: string[];
}

const MAX_COLUMNS = 200;
const EXAMPLES = 3;

/** A payload with its fields in the order of the source. */
export function inOrder(payload: unknown, fields: string[]): unknown {
  if (typeof payload !== "object" || payload === null || Array.isArray(payload)) return payload;
  const own = fields.filter((name) => Object.hasOwn(payload, name));
  return { ...Object.fromEntries(own.map((name) => [name, null])), ...payload };
}

/** The columns of the records that a preview shows, in the order of the source. */
export function columnsOf({ events, fields }: Pick<Preview, "events" | "fields">): Column[] {
  const columns = new Map<string, Column>();
  const add = (path: string, name: string | null, value: unknown) => {
    const known = columns.get(path) ?? { path, name, examples: [] };
    if (columns.size < MAX_COLUMNS) columns.set(path, known);
    if (value === null) return;
    const text = (typeof value === "string" ? value : JSON.stringify(value)).slice(0, 60);
    if (known.examples.length < EXAMPLES && !known.examples.includes(text)) {
      known.examples.push(text);
    }
  };
  const walk = (record: Record<string, unknown>, above: string) => {
    for (const [name, value] of Object.entries(record)) {
      const path = above + name.replaceAll(".", "\\.");
      const nested = typeof value === "object" && value !== null && !Array.isArray(value);
      if (nested) walk(value as Record<string, unknown>, `${path}.`);
      else add(path, above === "" ? name : null, value);
    }
  };
  for (const event of events) {
    const payload = inOrder(event.payload, fields);
    if (typeof payload === "object" && payload !== null) {
      walk(payload as Record<string, unknown>, "");
    }
  }
  return [...columns.values()];
}

export const COLUMN_TYPES = [
  "text",
  "integer",
  "numeric",
  "boolean",
  "date",
  "timestamptz",
  "jsonb",
];

type Declared = Record<string, unknown>;

/** A list or object of a field's text; undefined where it is none. */
export function parsed<T>(text: string): T | undefined {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" && value !== null ? value as T : undefined;
  } catch {
    return undefined;
  }
}

/** The paths that the text of a key, a time or a version names. */
export function pathsIn(text: string): string[] {
  const list = parsed<unknown>(text);
  if (Array.isArray(list)) return list.filter((path) => typeof path === "string");
  return text === "" ? [] : [fieldIn(text)?.field ?? text];
}

interface TableProps {
  columns: Column[];
  /** Declarations that would change what values become. */
  proposals: Preview["columns"];
  /** Texts of the form's fields. */
  values: Record<string, string>;
  /** Whether this kind of source has types for its columns. */
  typed: boolean;
  onChange(path: string, value: string): void;
}

/** The columns that were found, to choose key, time, version and types from. */
export function ColumnTable({ columns, proposals, values, typed, onChange }: TableProps) {
  const { t } = useLocale();
  const key = pathsIn(values["source.key"] ?? "");
  const time = pathsIn(values["source.occurred_at"] ?? "")[0] ?? "";
  const version = values["source.version"] ?? "";
  const declared = parsed<Declared>(values["source.columns"] ?? "") ?? {};
  const toggleKey = (path: string, chosen: boolean) => {
    const paths = chosen ? [...key, path] : key.filter((each) => each !== path);
    onChange(
      "source.key",
      paths.length === 0 ? "" : paths.length === 1 ? paths[0]! : JSON.stringify(paths),
    );
  };
  const declare = (name: string, type: unknown) => {
    const { [name]: _before, ...others } = declared;
    const all = type === "" ? others : { ...others, [name]: type };
    onChange("source.columns", Object.keys(all).length === 0 ? "" : JSON.stringify(all));
  };
  const typeText = (name: string) => {
    const known = declared[name];
    return known === undefined ? "" : typeof known === "string" ? known : JSON.stringify(known);
  };
  const one = (field: string, path: string, chosen: string, label: string) => (
    <input
      type="checkbox"
      checked={chosen === path}
      aria-label={label}
      onChange={(event) => onChange(field, event.currentTarget.checked ? path : "")}
    />
  );
  return (
    <div class="table-scroll" tabIndex={0} role="group" aria-label={t("form.columns")}>
      <table class="table card-table column-table">
        <thead>
          <tr>
            <th scope="col">{t("form.column")}</th>
            <th scope="col">{t("form.examples")}</th>
            <th scope="col">{t("form.key")}</th>
            <th scope="col">{t("form.time")}</th>
            <th scope="col">{t("form.version")}</th>
            {typed && <th scope="col">{t("form.type")}</th>}
          </tr>
        </thead>
        <tbody>
          {columns.map(({ path, name, examples }) => {
            const proposal = proposals.find((each) => each.name === name);
            const type = name === null ? "" : typeText(name);
            return (
              <tr key={path}>
                <th scope="row">
                  <code>{path}</code>
                </th>
                <td class="value-cell" title={examples.join(" · ")}>{examples.join(" · ")}</td>
                <td data-title={t("form.key")}>
                  <input
                    type="checkbox"
                    checked={key.includes(path)}
                    aria-label={t("form.use_as_key", { column: path })}
                    onChange={(event) => toggleKey(path, event.currentTarget.checked)}
                  />
                </td>
                <td data-title={t("form.time")}>
                  {one("source.occurred_at", path, time, t("form.use_as_time", { column: path }))}
                </td>
                <td data-title={t("form.version")}>
                  {one("source.version", path, version, t("form.use_as_version", { column: path }))}
                </td>
                {typed && (
                  <td class="column-type-cell" data-title={t("form.type")}>
                    {name !== null && (
                      <span class="column-type">
                        <select
                          aria-label={t("form.type_of", { column: path })}
                          onChange={({ currentTarget: { value } }) =>
                            declare(name, parsed(value) ?? value)}
                        >
                          <option value="" selected={type === ""}>{t("form.as_read")}</option>
                          {[...new Set([...COLUMN_TYPES, ...(type === "" ? [] : [type])])].map((
                            each,
                          ) => (
                            <option key={each} value={each} selected={each === type}>
                              {parsed<{ type?: string }>(each)?.type ?? each}
                            </option>
                          ))}
                        </select>
                        {proposal !== undefined && type === "" && (
                          <button
                            type="button"
                            class="button plain small"
                            title={proposal.why}
                            onClick={() => declare(name, proposal.declare)}
                          >
                            {t("form.use_type", {
                              type: typeof proposal.declare === "string"
                                ? proposal.declare
                                : String((proposal.declare as { type?: string }).type),
                            })}
                          </button>
                        )}
                      </span>
                    )}
                  </td>
                )}
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}
