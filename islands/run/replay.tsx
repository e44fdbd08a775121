/// <reference lib="dom" />
import { at } from "../lib/base.ts";
import { useEffect, useState } from "preact/hooks";
import type { QuarantineView } from "../../store/quarantine.ts";
import { COUNTERS } from "../../vocabulary/words.ts";
import type { RunDetail, Submitted } from "../../vocabulary/run_schema.ts";
import { type Conf, confOf, type Field, type FormValues, valuesOf } from "../form/conf.ts";
import { columnsOf, ColumnTable } from "../form/data.tsx";
import { type ApiError, call } from "../lib/api.ts";
import { useLocale, useRole } from "../lib/context.tsx";
import { useTurns } from "../lib/turns.ts";
import { Dialog } from "../ui/dialog.tsx";
import { Icon, Notice, Said } from "../ui/elements.tsx";

/** What a replay can say of the records, beside where they come from. */
const MAPPING: Field[] = ["key", "event_type", "occurred_at", "version", "columns"].map((name) => ({
  path: `source.${name}`,
  name,
  kind: "text_or_json",
  required: false,
  description: "",
  fallback: undefined,
  options: [],
  min: undefined,
  max: undefined,
}));

/** Names that there are to choose from. */
export interface ReplayChoices {
  transforms: string[];
  suites: string[];
}

/** What differs from the original, as the API takes it: null takes a member of the source away. */
export function replaySet(before: Replayed, after: Replayed): Conf {
  const set: Conf = {};
  for (const name of ["transform", "suite"] as const) {
    if (before[name] !== after[name]) set[name] = after[name] === "" ? null : after[name];
  }
  const members = (values: FormValues) =>
    (confOf(MAPPING, values, "inline").source ?? {}) as Record<string, unknown>;
  const [old, now] = [members(before.mapping), members(after.mapping)];
  const source = Object.fromEntries(
    MAPPING.filter(({ name }) => JSON.stringify(old[name]) !== JSON.stringify(now[name]))
      .map(({ name }) => [name, now[name] ?? null]),
  );
  return Object.keys(source).length === 0 ? set : { ...set, source };
}

export interface Replayed {
  /** "": none. */
  transform: string;
  suite: string;
  mapping: FormValues;
}

/** What the run itself was asked to do. */
function asItWas({ params }: RunDetail): Replayed {
  const source = (params.source?.value ?? {}) as Conf;
  const own = Object.fromEntries(
    MAPPING.filter(({ name }) => source[name] !== undefined && source[name] !== null)
      .map(({ name }) => [name, source[name]]),
  );
  return {
    transform: String(params.transform?.value ?? ""),
    suite: String(params.suite?.value ?? ""),
    mapping: valuesOf({ source: own }),
  };
}

/** The records themselves, so that their columns can be chosen from. */
function recordsOf(items: QuarantineView[]): { payload: unknown }[] {
  return items.flatMap(({ record, raw }) => {
    try {
      return [{ payload: JSON.parse(record ?? raw) }];
    } catch {
      return [];
    }
  });
}

interface ReplayProps {
  run: RunDetail;
  items: QuarantineView[];
  rules: { rule: string; count: number }[];
  /** The rule whose records are shown; null: all. */
  rule: string | null;
  onClose(): void;
}

/** Asks how rejected records are to be loaded again; a dry run says first what would become of them. */
export function ReplayDialog({ run, items, rules, rule: shown, onClose }: ReplayProps) {
  const { t, number } = useLocale();
  const operator = useRole("operator");
  const [before] = useState(() => asItWas(run));
  const [wanted, setWanted] = useState(before);
  const [rule, setRule] = useState(shown ?? "");
  const [choices, setChoices] = useState<ReplayChoices>({ transforms: [], suites: [] });
  const [busy, setBusy] = useState<"dry" | "load" | null>(null);
  const [failure, setFailure] = useState<ApiError | null>(null);
  const [tried, setTried] = useState<RunDetail | null>(null);
  const offline = t("error.network");
  useEffect(() => {
    call<ReplayChoices>("/etl/data/replay-choices", { offline }).then(setChoices, setFailure);
  }, []);
  const turns = useTurns();
  /** A dry run says nothing any more of what was changed since. */
  const forget = () => {
    turns();
    setTried(null);
    setBusy(null);
  };
  const change = (changes: Partial<Replayed>) => {
    forget();
    setWanted((now) => ({ ...now, ...changes }));
  };
  const map = (path: string, value: string) =>
    change({ mapping: { ...wanted.mapping, [path]: value } });
  const send = async (dry: boolean) => {
    const isLast = turns();
    setBusy(dry ? "dry" : "load");
    setFailure(null);
    setTried(null);
    try {
      const answer = await call<RunDetail & Submitted>(
        `/api/etl/runs/${run.run_id}/quarantine/replay${dry ? "?wait=true" : ""}`,
        {
          method: "POST",
          body: {
            set: replaySet(before, wanted),
            dry_run: dry,
            ...(rule === "" ? {} : { rule }),
          },
          offline,
        },
      );
      if (!dry) return location.assign(at(`/etl/runs/${answer.run_id}`));
      if (!isLast()) return;
      setTried(answer);
    } catch (error) {
      if (dry && !isLast()) return;
      setFailure(error as ApiError);
    }
    setBusy(null);
  };
  const columns = columnsOf({ events: recordsOf(items) as never, fields: [] });
  const choice = (name: "transform" | "suite", known: string[]) => (
    <div class="field">
      <label for={`replay-${name}`}>{t(`replay.${name}`)}</label>
      <select
        id={`replay-${name}`}
        onChange={(event) => change({ [name]: event.currentTarget.value })}
      >
        <option value="" selected={wanted[name] === ""}>{t("replay.none")}</option>
        {[...new Set([...known, ...(before[name] === "" ? [] : [before[name]])])].map((each) => (
          <option key={each} value={each} selected={wanted[name] === each}>{each}</option>
        ))}
      </select>
    </div>
  );
  const counts = tried?.counts ?? {};
  return (
    <Dialog title={t("replay.title")} wide onClose={onClose}>
      <form
        class="stack tight"
        onSubmit={(event) => {
          event.preventDefault();
          void send(false);
        }}
      >
        <p class="dialog-text">{t("replay.about")}</p>
        {failure !== null && (
          <Notice kind="problem" alert title={failure.message}>
            {failure.errors.length > 0 && (
              <ul class="bullets">
                {failure.errors.map(({ field, message, expected }) => (
                  <li key={field}>
                    <code>{field}</code> {message}
                    {expected === undefined ? "" : `: ${expected}`}
                  </li>
                ))}
              </ul>
            )}
          </Notice>
        )}
        <div class="fields">
          <div class="field">
            <label for="replay-rule">{t("replay.rule")}</label>
            <select
              id="replay-rule"
              onChange={(event) => {
                forget();
                setRule(event.currentTarget.value);
              }}
            >
              <option value="" selected={rule === ""}>{t("run.all_rules")}</option>
              {rules.map((each) => (
                <option key={each.rule} value={each.rule} selected={rule === each.rule}>
                  {each.rule} ({number(each.count)})
                </option>
              ))}
            </select>
          </div>
          {choice("transform", choices.transforms)}
          {choice("suite", choices.suites)}
          <div class="field">
            <label for="replay-event-type">{t("replay.event_type")}</label>
            <input
              id="replay-event-type"
              type="text"
              autocomplete="off"
              spellcheck={false}
              value={wanted.mapping["source.event_type"] ?? ""}
              onInput={(event) => map("source.event_type", event.currentTarget.value)}
            />
          </div>
        </div>
        {columns.length > 0 && (
          <ColumnTable
            columns={columns}
            proposals={[]}
            values={wanted.mapping}
            typed
            onChange={map}
          />
        )}
        <div role="status">
          {tried !== null && (
            <Notice
              kind={tried.state === "succeeded" && (counts.rejected ?? 0) === 0
                ? "good"
                : "warning"}
              title={t(
                tried.state !== "succeeded"
                  ? "replay.dry_failed"
                  : (counts.rejected ?? 0) === 0
                  ? "replay.dry_good"
                  : "replay.dry_some",
              )}
            >
              {tried.error !== null && (
                <p>
                  <Said text={String(tried.error.detail ?? "")} />
                </p>
              )}
              <p>
                {COUNTERS.filter((name) => (counts[name] ?? 0) > 0)
                  .map((name) => `${t(`field.${name}`)} ${number(counts[name]!)}`).join(" · ")}
              </p>
              <p>
                <a href={at(`/etl/runs/${tried.run_id}`)}>{t("replay.dry_run_page")}</a>
              </p>
            </Notice>
          )}
        </div>
        <div class="dialog-actions">
          <button type="button" class="button" onClick={onClose}>{t("action.close")}</button>
          <button
            type="button"
            class="button"
            onClick={() => send(true)}
            {...operator.control(busy !== null)}
          >
            {t(busy === "dry" ? "replay.trying" : "replay.dry")}
          </button>
          <button type="submit" class="button primary" {...operator.control(busy !== null)}>
            <Icon name="retry" /> {t("run.replay")}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
