/// <reference lib="dom" />
import { at } from "./lib/base.ts";
import type { ScheduleRow } from "../store/schedules.ts";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Submitted } from "../vocabulary/run_schema.ts";
import { mount } from "./lib/mount.tsx";
import { type ApiError, call, ONLY_NEW } from "./lib/api.ts";
import { useLocale, useRole } from "./lib/context.tsx";
import { useTurns } from "./lib/turns.ts";
import { Confirm, Dialog } from "./ui/dialog.tsx";
import {
  Icon,
  type IconName,
  Notice,
  Said,
  StateBadge,
  StateSymbol,
  Time,
} from "./ui/elements.tsx";
import type { MessageKey } from "./i18n/en.ts";
import type { ComponentChildren } from "preact";
import type { FieldError } from "../vocabulary/problem.ts";
import { keepSchedule, keptSchedule, type ScheduleDraft } from "./form/draft.ts";
import { parseExact } from "../vocabulary/exact_json.ts";
import type { Conf } from "./form/conf.ts";

/** A schedule as the page shows it: its expression also in the viewer's language. */
export interface ScheduleView extends ScheduleRow {
  cron_words: string;
}

/** A slot as `GET /api/schedules/{name}/slots` gives it. */
export interface SlotView {
  slot: string;
  /** As the clocks of the schedule's zone show it. */
  local: string;
  state: "pending" | "requested" | "skipped" | "missed" | "failed";
  run_id: string | null;
  run_state: string | null;
  blocked_by: string | null;
  note: string | null;
  problem: { detail?: string } | null;
}

/** "2027-03-28 03:00 +02:00" of "2027-03-28T03:00:00+02:00[Europe/Madrid]". */
export function localText(local: string): string {
  const [, day, time, offset] = /^(\S{10})T(\d\d:\d\d)(?::\d\d)?(Z|[+-]\d\d:\d\d)?/.exec(local) ??
    [];
  return day === undefined ? local : `${day} ${time} ${offset ?? ""}`.trim();
}

/** Next and last slots move on by themselves. */
const REFRESH_MS = 15_000;

/** A dialog that is open, and for which schedule. */
type Open =
  | { action: "edit" | "remove" | "pause" | "slots"; schedule: ScheduleView }
  | "new"
  | null;

interface ScheduleListProps {
  items: ScheduleView[];
  /** The conf of a run that is to be scheduled; null: none. */
  draft: string | null;
  /** Names of saved configurations, to choose one. */
  configurations: string[];
}

/** Looks at, creates, changes, pauses, runs now, backfills and removes schedules. */
export function ScheduleList({ items: initial, draft, configurations }: ScheduleListProps) {
  const { t } = useLocale();
  const admin = useRole("admin");
  const [items, setItems] = useState(initial);
  const [open, setOpen] = useState<Open>(null);
  /** What an editor begins with, other than what is stored. */
  const [begun, setBegun] = useState<ScheduleDraft | null>(() =>
    draft === null ? null : { conf: parseExact(draft) as Conf }
  );
  useEffect(() => {
    const passed = begun ?? (location.hash === "#draft" ? keptSchedule() : null);
    if (passed === null || !admin.may) return;
    keepSchedule(null);
    const schedule = items.find(({ name }) => name === passed.schedule);
    setBegun(passed);
    setOpen(schedule === undefined ? "new" : { action: "edit", schedule });
  }, []);
  const [busy, setBusy] = useState(false);
  const [message, setMessage] = useState<{ kind: "good" | "problem"; text: string } | null>(null);
  const offline = t("error.network");

  const turns = useTurns();
  const reload = async () => {
    const isLast = turns();
    const { items } = await call<{ items: ScheduleView[] }>("/etl/data/schedules", {
      offline,
      exact: true,
    });
    if (isLast()) setItems(items);
  };
  useEffect(() => {
    const timer = setInterval(() => {
      // what a dead server does not answer is said when something is asked of it
      if (document.visibilityState === "visible") reload().catch(() => {});
    }, REFRESH_MS);
    return () => clearInterval(timer);
  }, []);

  const attempt = async (action: () => Promise<string | null>) => {
    setBusy(true);
    try {
      const text = await action();
      setMessage(text === null ? null : { kind: "good", text });
    } catch (error) {
      setMessage({ kind: "problem", text: (error as ApiError).message });
    }
    setBusy(false);
  };
  const done = (key: "resource.saved" | "resource.removed" | "schedule.paused_now", name: string) =>
    attempt(async () => {
      close();
      await reload();
      return t(key, { name });
    });
  const act = (action: ScheduleAction, schedule: ScheduleView) => {
    const { name } = schedule;
    const url = `/api/schedules/${encodeURIComponent(name)}`;
    if (action === "run") {
      void attempt(async () => {
        const { run_id } = await call<Submitted>(`${url}/run`, { method: "POST", offline });
        location.assign(at(`/etl/runs/${run_id}`));
        return null;
      });
    } else if (action === "resume") {
      void attempt(async () => {
        await call(`${url}/resume`, { method: "POST", offline });
        await reload();
        return t("schedule.resumed", { name });
      });
    } else setOpen({ action, schedule });
  };
  const remove = ({ name }: ScheduleView) =>
    attempt(async () => {
      setOpen(null);
      await call(`/api/schedules/${encodeURIComponent(name)}`, { method: "DELETE", offline });
      await reload();
      return t("resource.removed", { name });
    });
  const close = () => {
    setBegun(null);
    setOpen(null);
  };
  return (
    <>
      <div class="page-head">
        <h1>{t("nav.schedules")}</h1>
        <div class="page-actions">
          <button
            type="button"
            class="button primary only-with-script"
            onClick={() => setOpen("new")}
            {...admin.control()}
          >
            <Icon name="plus" /> {t("schedule.new")}
          </button>
        </div>
      </div>
      <p class="lead">
        {t("schedule.about")} {admin.reason !== null && <span class="quiet">{admin.reason}</span>}
      </p>
      <div role="status" class="messages">
        {message !== null && <Notice kind={message.kind} title={message.text} />}
      </div>
      <section class="card" aria-label={t("nav.schedules")}>
        {items.length === 0
          ? <p class="empty">{t("schedule.empty")}</p>
          : <ScheduleTable items={items} busy={busy} onAction={act} />}
      </section>
      {open === "new" && (
        <ScheduleEditor
          schedule={null}
          draft={begun}
          configurations={configurations}
          onSaved={(name) => done("resource.saved", name)}
          onClose={close}
        />
      )}
      {open !== null && open !== "new" && open.action === "edit" && (
        <ScheduleEditor
          schedule={open.schedule}
          draft={begun}
          configurations={configurations}
          onSaved={(name) => done("resource.saved", name)}
          onClose={close}
        />
      )}
      {open !== null && open !== "new" && open.action === "pause" && (
        <PauseDialog
          schedule={open.schedule}
          onPaused={() => done("schedule.paused_now", open.schedule.name)}
          onClose={close}
        />
      )}
      {open !== null && open !== "new" && open.action === "slots" && (
        <SlotsDialog schedule={open.schedule} onClose={close} />
      )}
      {open !== null && open !== "new" && open.action === "remove" && (
        <Confirm
          title={t("resource.remove_title", { name: open.schedule.name })}
          text={t("schedule.removal")}
          action={t("action.remove")}
          busy={busy}
          onConfirm={() => remove(open.schedule)}
          onClose={close}
        />
      )}
    </>
  );
}

export type ScheduleAction = "run" | "pause" | "resume" | "slots" | "edit" | "remove";

const ICONS: Record<ScheduleAction, IconName> = {
  run: "play",
  pause: "pause",
  resume: "retry",
  slots: "runs",
  edit: "edit",
  remove: "trash",
};

interface ScheduleTableProps {
  items: ScheduleView[];
  busy: boolean;
  onAction(action: ScheduleAction, schedule: ScheduleView): void;
}

function ScheduleTable({ items, busy, onAction }: ScheduleTableProps) {
  const { t } = useLocale();
  return (
    <div class="table-scroll">
      <table class="table schedules">
        <thead>
          <tr>
            <th scope="col">{t("form.name")}</th>
            <th scope="col">{t("schedule.when")}</th>
            <th scope="col">{t("schedule.next")}</th>
            <th scope="col">{t("schedule.last")}</th>
            <th scope="col" class="only-with-script">
              <span class="visually-hidden">{t("resource.actions")}</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {items.map((schedule) => (
            <tr key={schedule.name} id={`row-${schedule.name}`}>
              <th scope="row">
                <span class="resource-name">{schedule.name}</span>
                {schedule.description !== null && (
                  <span class="quiet second-line">{schedule.description}</span>
                )}
              </th>
              <td>
                <span class="schedule-words">{schedule.cron_words}</span>
                <span class="quiet second-line">
                  <code>{schedule.cron}</code> · {schedule.time_zone}
                </span>
              </td>
              <td>
                <Next schedule={schedule} />
              </td>
              <td>
                {schedule.last_slot === null ? <span class="quiet">–</span> : (
                  <>
                    <SlotState slot={schedule.last_slot as never} />
                    <span class="quiet second-line">
                      <Time at={schedule.last_slot.slot} />
                    </span>
                  </>
                )}
              </td>
              <td class="row-actions only-with-script">
                <Actions schedule={schedule} busy={busy} onAction={onAction} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Next({ schedule }: { schedule: ScheduleView }) {
  const { t } = useLocale();
  if (schedule.problem !== null) {
    return <Said className="is-bad" text={schedule.problem} />;
  }
  return (
    <>
      {schedule.next_slot === null
        ? <span class="quiet">{schedule.paused ? t("schedule.paused") : "–"}</span>
        : <Time at={schedule.next_slot} style="relative" />}
      {schedule.next_slot !== null && (
        <span class="quiet second-line">
          {schedule.paused && `${t("schedule.paused")} · `}
          <Time at={schedule.next_slot} />
        </span>
      )}
    </>
  );
}

function Actions({ schedule, busy, onAction }: Omit<ScheduleTableProps, "items"> & {
  schedule: ScheduleView;
}) {
  const { t } = useLocale();
  const operator = useRole("operator");
  const admin = useRole("admin");
  const paused = !schedule.active || schedule.paused;
  const roles = { run: operator, pause: operator, resume: operator, edit: admin, remove: admin };
  const actions: ScheduleAction[] = ["run", paused ? "resume" : "pause", "slots", "edit", "remove"];
  return (
    <>
      {actions.map((action) => (
        <button
          key={action}
          type="button"
          class="button plain icon-only"
          aria-label={t(`schedule.${action}_one`, { name: schedule.name })}
          title={t(`schedule.${action}_one`, { name: schedule.name })}
          onClick={() => onAction(action, schedule)}
          {...(action === "slots" ? { disabled: busy } : roles[action].control(busy))}
        >
          <Icon name={ICONS[action]} />
        </button>
      ))}
    </>
  );
}

const SYMBOLS = {
  pending: "pending",
  requested: "queued",
  skipped: "skipped",
  missed: "cancelled",
  failed: "failed",
} as const;

/** What became of a slot; leads to its run. */
function SlotState(
  { slot }: { slot: Pick<SlotView, "state" | "run_id" | "run_state"> },
) {
  const { t } = useLocale();
  if (slot.run_id !== null && slot.run_state !== null) {
    return (
      <a href={`/etl/runs/${slot.run_id}`}>
        <StateBadge state={slot.run_state} />
      </a>
    );
  }
  const symbol = SYMBOLS[slot.state];
  return (
    <span class={`state is-${symbol}`}>
      <StateSymbol state={symbol} />
      {t(`slot.${slot.state}` as MessageKey)}
    </span>
  );
}

interface EditorProps {
  /** The schedule to change; null: a new one. */
  schedule: ScheduleView | null;
  onSaved(name: string): void;
  onClose(): void;
  /** What to begin with; null: what is stored, a new one with a small run. */
  draft: ScheduleDraft | null;
  configurations: string[];
}

/** The object that a text is; null of any other. */
function objectIn(text: string): Conf | null {
  try {
    const value = parseExact(text);
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? value as Conf
      : null;
  } catch {
    return null;
  }
}

/** The configuration that a conf names and nothing else; "" of any other. */
function onlyConfiguration(conf: string): string {
  const { configuration, ...rest } = objectIn(conf) ?? {};
  return typeof configuration === "string" && Object.keys(rest).length === 0 ? configuration : "";
}

const EXAMPLE = { batch_size: 1000 };

const POLICIES = { missed: ["last", "all", "none"], overlap: ["skip", "queue", "cancel"] } as const;

/** Creates or changes a schedule; says while it is typed when it will be due. */
function ScheduleEditor(
  { schedule, draft, configurations, onSaved, onClose }: EditorProps,
) {
  const { t, zone } = useLocale();
  // a schedule says itself what happens when a run is going on
  const { overlap, ...given } = draft?.conf ?? schedule?.conf ?? EXAMPLE as Conf;
  const [texts, setTexts] = useState({
    name: schedule?.name ?? "",
    description: schedule?.description ?? "",
    cron: schedule?.cron ?? "0 6 * * *",
    time_zone: schedule?.time_zone ?? zone,
    missed: schedule?.missed ?? "last",
    grace_seconds: String(schedule?.grace_seconds ?? 120),
    overlap: schedule?.overlap ?? "skip",
    ...draft?.texts,
    ...(overlap === undefined ? {} : { overlap: String(overlap) }),
    conf: JSON.stringify(given, null, 2),
  });
  /** Values of its own, while a saved configuration is chosen instead. */
  const own = useRef(onlyConfiguration(texts.conf) === "" ? texts.conf : undefined);
  const [failure, setFailure] = useState<string | null>(null);
  const [errors, setErrors] = useState<FieldError[]>([]);
  const [busy, setBusy] = useState(false);

  const save = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    setErrors([]);
    setFailure(null);
    try {
      const { name, conf, grace_seconds, description, ...rest } = texts;
      await call(`/api/schedules/${encodeURIComponent(name)}`, {
        method: "PUT",
        headers: schedule === null ? ONLY_NEW : {},
        body: {
          ...rest,
          description: description.trim() === "" ? null : description,
          conf: parseExact(conf),
          grace_seconds: /^\d+$/.test(grace_seconds.trim()) ? Number(grace_seconds) : grace_seconds,
        },
        offline: t("error.network"),
      });
      onSaved(name);
      return;
    } catch (error) {
      if (error instanceof SyntaxError) {
        setFailure(t("resource.not_json", { message: error.message }));
      } else {
        setErrors((error as ApiError).errors ?? []);
        setFailure((error as ApiError).message);
      }
    }
    setBusy(false);
  };
  const editInForm = () => {
    const conf = objectIn(texts.conf);
    if (conf === null) return setFailure(t("schedule.no_object"));
    keepSchedule({ conf, texts, ...(schedule === null ? {} : { schedule: schedule.name }) });
    // the browser's Back leads to this dialog as well
    history.replaceState(null, "", `${location.pathname}#draft`);
    location.assign(at(`/etl/new?schedule=${encodeURIComponent(texts.name)}`));
  };
  /** What an input of the form needs beside its kind. */
  const bind = (name: keyof typeof texts) => ({
    id: `schedule-${name}`,
    value: texts[name],
    spellcheck: false,
    autocomplete: "off" as const,
    "aria-describedby": `schedule-${name}-help`,
    "aria-invalid": errorsOf(errors, name).length > 0,
    onInput: (event: { currentTarget: { value: string } }) => {
      const { value } = event.currentTarget;
      setTexts((now) => ({ ...now, [name]: value }));
    },
  });
  const field = (name: keyof typeof texts, input: ComponentChildren, help?: string) => (
    <Field name={name} errors={errorsOf(errors, name)} help={help}>{input}</Field>
  );
  const choice = (name: "missed" | "overlap") =>
    field(
      name,
      <select {...bind(name)}>
        {POLICIES[name].map((each) => (
          <option key={each} value={each} selected={texts[name] === each}>
            {t(`schedule.${name}_${each}` as MessageKey)}
          </option>
        ))}
      </select>,
    );
  const chosen = onlyConfiguration(texts.conf);
  const conf = objectIn(texts.conf);
  const wrongConf = errorsOf(errors, "conf");
  const title = schedule === null
    ? t("schedule.new")
    : t("schedule.edit_one", { name: schedule.name });
  return (
    <Dialog title={title} wide onClose={onClose}>
      <form class="stack tight" onSubmit={save}>
        {failure !== null && <Notice kind="problem" alert title={failure} />}
        <div class="fields">
          {schedule === null && field("name", <input type="text" required {...bind("name")} />)}
          {field("description", <input type="text" {...bind("description")} />)}
          {field("cron", <input type="text" class="mono" required {...bind("cron")} />)}
          {field(
            "time_zone",
            <>
              <input type="text" list="time-zones" required {...bind("time_zone")} />
              <datalist id="time-zones">
                {Intl.supportedValuesOf("timeZone").map((each) => (
                  <option
                    key={each}
                    value={each}
                  />
                ))}
              </datalist>
            </>,
          )}
        </div>
        <NextSlots cron={texts.cron} timeZone={texts.time_zone} />
        {configurations.length > 0 && (
          <div class="field">
            <label for="schedule-configuration">{t("schedule.configuration")}</label>
            <select
              id="schedule-configuration"
              onChange={({ currentTarget: { value } }) => {
                if (chosen === "") own.current = texts.conf;
                const conf = value === ""
                  ? own.current ?? JSON.stringify(EXAMPLE, null, 2)
                  : JSON.stringify({ configuration: value }, null, 2);
                setTexts((now) => ({ ...now, conf }));
              }}
            >
              <option value="">{t("schedule.own_values")}</option>
              {[...new Set([...configurations, ...(chosen === "" ? [] : [chosen])])].map((each) => (
                <option key={each} value={each} selected={each === chosen}>{each}</option>
              ))}
            </select>
          </div>
        )}
        {(chosen === "" || configurations.length === 0) && (
          <div class="field" role="group" aria-labelledby="schedule-runs">
            <span class="field-label" id="schedule-runs">{t("schedule.field_conf")}</span>
            {conf !== null && <ConfSummary conf={conf} />}
            <div class="conf-actions">
              <button type="button" class="button" onClick={editInForm}>
                <Icon name="edit" /> {t("schedule.edit_in_form")}
              </button>
            </div>
            <WrongFields errors={wrongConf} />
            <details class="fold" open={conf === null}>
              <summary id="schedule-json">{t("form.as_json")}</summary>
              <textarea rows={7} aria-labelledby="schedule-runs schedule-json" {...bind("conf")} />
              <p class="field-help" id="schedule-conf-help">{t("schedule.help_conf")}</p>
            </details>
          </div>
        )}
        <details class="fold">
          <summary>{t("schedule.policies")}</summary>
          <div class="fields">
            {choice("missed")}
            {field(
              "grace_seconds",
              <input type="text" inputMode="numeric" {...bind("grace_seconds")} />,
            )}
            {choice("overlap")}
          </div>
        </details>
        <div class="dialog-actions">
          <button type="button" class="button" onClick={onClose}>{t("action.close")}</button>
          <button type="submit" class="button primary" disabled={busy || texts.name === ""}>
            {t("action.save")}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

interface FieldProps {
  name: string;
  errors: FieldError[];
  help?: string | undefined;
  children: ComponentChildren;
}

function Field({ name, errors, children }: FieldProps) {
  const { t } = useLocale();
  return (
    <div class="field">
      <label for={`schedule-${name}`}>{t(`schedule.field_${name}` as MessageKey)}</label>
      {children}
      <WrongFields errors={errors} />
      <p class="field-help" id={`schedule-${name}-help`}>
        {t(`schedule.help_${name}` as MessageKey)}
      </p>
    </div>
  );
}

function WrongFields({ errors }: { errors: FieldError[] }) {
  if (errors.length === 0) return null;
  return (
    <p class="field-error">
      {errors.map(({ field, message, expected }) =>
        `${field} ${message}${expected === undefined ? "" : `: ${expected}`}`
      ).join("; ")}
    </p>
  );
}

/** What a conf says, a line for each parameter and each member of the source. */
function ConfSummary({ conf: { source, ...params } }: { conf: Conf }) {
  const { t } = useLocale();
  const members = typeof source === "object" && source !== null
    ? Object.entries(source).sort(([a], [b]) => Number(b === "type") - Number(a === "type"))
    : [];
  const lines = [
    ...members.map(([name, value]) => [`source.${name}`, value] as const),
    ...Object.entries(params),
  ];
  if (lines.length === 0) return <p class="quiet">{t("run.all_defaults")}</p>;
  return (
    <dl class="params conf-summary">
      {lines.map(([name, value]) => (
        <div key={name}>
          <dt>
            <code>{name}</code>
          </dt>
          <dd>
            <code class="value">
              {typeof value === "string" ? value : JSON.stringify(value)}
            </code>
          </dd>
        </div>
      ))}
    </dl>
  );
}

/** Errors of a field and of what is inside it. */
function errorsOf(errors: FieldError[], name: string): FieldError[] {
  return errors.filter(({ field }) => field === name || field.startsWith(`${name}.`));
}

interface Upcoming {
  cron_words: string;
  slots: { slot: string; local: string }[];
}

/** How long nothing is typed before the server is asked. */
const TYPING_MS = 250;

/** An expression in words and when it is due next, while it is being typed. */
function NextSlots({ cron, timeZone }: { cron: string; timeZone: string }) {
  const { t, lang } = useLocale();
  const [upcoming, setUpcoming] = useState<Upcoming | null>(null);
  const [failure, setFailure] = useState<string | null>(null);
  useEffect(() => {
    let current = true;
    const timer = setTimeout(async () => {
      try {
        const answer = await call<Upcoming>("/api/schedules/preview", {
          method: "POST",
          body: { cron, time_zone: timeZone, count: 5 },
          headers: { "accept-language": lang },
          offline: t("error.network"),
        });
        if (!current) return;
        setUpcoming(answer);
        setFailure(null);
      } catch (error) {
        if (!current) return;
        setUpcoming(null);
        setFailure((error as ApiError).message);
      }
    }, TYPING_MS);
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [cron, timeZone]);
  return (
    <div class="next-slots" role="status">
      {failure !== null && (
        <p class="field-error">
          <Said text={failure} />
        </p>
      )}
      {upcoming !== null && (
        <>
          <p class="schedule-words">{upcoming.cron_words}</p>
          <ol class="slot-times">
            {upcoming.slots.map(({ slot, local }) => (
              <li key={slot}>
                <span class="slot-time">{localText(local)}</span>
                <span class="quiet">
                  <Time at={slot} style="relative" />
                </span>
              </li>
            ))}
          </ol>
        </>
      )}
    </div>
  );
}

interface PauseDialogProps {
  schedule: ScheduleView;
  onPaused(): void;
  onClose(): void;
}

/** Pauses a schedule, until a time of its zone or until it is resumed. */
function PauseDialog(
  { schedule: { name, time_zone }, onPaused, onClose }: PauseDialogProps,
) {
  const { t } = useLocale();
  const [until, setUntil] = useState("");
  const [failure, setFailure] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const pause = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    try {
      await call(`/api/schedules/${encodeURIComponent(name)}/pause`, {
        method: "POST",
        body: until === "" ? {} : { until },
        offline: t("error.network"),
      });
      onPaused();
    } catch (error) {
      setFailure((error as ApiError).message);
      setBusy(false);
    }
  };
  return (
    <Dialog title={t("schedule.pause_title", { name })} onClose={onClose}>
      <form class="stack tight" onSubmit={pause}>
        {failure !== null && <Notice kind="problem" alert title={failure} />}
        <p class="dialog-text">{t("schedule.pause_text")}</p>
        <div class="field">
          <label for="pause-until">{t("schedule.until")}</label>
          <input
            id="pause-until"
            type="datetime-local"
            aria-describedby="pause-until-help"
            value={until}
            onInput={(event) => setUntil(event.currentTarget.value)}
          />
          <p class="field-help" id="pause-until-help">
            {t("schedule.until_help", { zone: time_zone })}
          </p>
        </div>
        <div class="dialog-actions">
          <button type="button" class="button" onClick={onClose}>{t("action.close")}</button>
          <button type="submit" class="button primary" disabled={busy}>
            {t("schedule.pause")}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

interface Slots {
  ahead: SlotView[];
  past: SlotView[];
  next: string | null;
}

const AHEAD = 5;
const PAGE = 20;

/** Slots of a schedule, to come and past, with what became of them; past ones can be run. */
function SlotsDialog({ schedule, onClose }: { schedule: ScheduleView; onClose(): void }) {
  const { t } = useLocale();
  const [slots, setSlots] = useState<Slots | null>(null);
  const [failure, setFailure] = useState<string | null>(null);
  const url = `/api/schedules/${encodeURIComponent(schedule.name)}/slots?limit=${PAGE}`;
  const turns = useTurns();
  const load = async (cursor: string | null) => {
    const isLast = turns();
    try {
      const page = await call<Slots>(
        cursor === null ? url : `${url}&cursor=${encodeURIComponent(cursor)}`,
        { offline: t("error.network") },
      );
      if (!isLast()) return;
      setSlots((before) =>
        before === null || cursor === null
          ? page
          : { ...page, past: [...before.past, ...page.past] }
      );
      setFailure(null);
    } catch (error) {
      if (isLast()) setFailure((error as ApiError).message);
    }
  };
  useEffect(() => void load(null), []);
  return (
    <Dialog title={t("schedule.slots_title", { name: schedule.name })} wide onClose={onClose}>
      <div class="stack tight slots-body">
        {failure !== null && <Notice kind="problem" alert title={failure} />}
        {slots !== null && (
          <>
            <h3>{t("schedule.ahead")}</h3>
            {slots.ahead.length === 0
              ? <p class="quiet">{t("schedule.none_ahead")}</p>
              : <SlotRows slots={slots.ahead.slice(0, AHEAD)} />}
            <h3>{t("schedule.past")}</h3>
            {slots.past.length === 0
              ? <p class="quiet">{t("schedule.none_past")}</p>
              : <SlotRows slots={slots.past} />}
            {slots.next !== null && (
              <div>
                <button type="button" class="button" onClick={() => load(slots.next)}>
                  {t("schedule.older")}
                </button>
              </div>
            )}
          </>
        )}
        <Backfill schedule={schedule} onDone={() => load(null)} />
      </div>
    </Dialog>
  );
}

function SlotRows({ slots }: { slots: SlotView[] }) {
  return (
    <ul class="rows slot-rows">
      {slots.map((slot) => (
        <li key={slot.slot}>
          <span class="slot-time">{localText(slot.local)}</span>
          <span class="quiet">
            <Time at={slot.slot} style="relative" />
          </span>
          {slot.state !== "pending" && <SlotState slot={slot} />}
          <Why slot={slot} />
        </li>
      ))}
    </ul>
  );
}

function Why({ slot: { note, problem, blocked_by } }: { slot: SlotView }) {
  const text = problem?.detail ?? note;
  if (text === null || text === undefined) return null;
  return (
    <span class="slot-note quiet">
      {blocked_by === null ? <Said text={text} /> : (
        <a href={`/etl/runs/${blocked_by}`}>
          <Said text={text} />
        </a>
      )}
    </span>
  );
}

interface Answer {
  runs: number;
  kept: number;
}

/** Runs the past slots of a range: first says how many, then does it. */
export function Backfill({ schedule, onDone }: { schedule: ScheduleView; onDone(): void }) {
  const { t } = useLocale();
  const operator = useRole("operator");
  const [from, setFrom] = useState("");
  const [to, setTo] = useState("");
  const [planned, setPlanned] = useState<Answer | null>(null);
  const [message, setMessage] = useState<{ kind: "good" | "problem"; text: string } | null>(null);
  const [busy, setBusy] = useState(false);

  const turns = useTurns();
  const ask = async (preview: boolean) => {
    const isLast = turns();
    setBusy(true);
    setMessage(null);
    try {
      const answer = await call<Answer>(
        `/api/schedules/${encodeURIComponent(schedule.name)}/backfill`,
        {
          method: "POST",
          body: { from, ...(to === "" ? {} : { to }), preview },
          offline: t("error.network"),
        },
      );
      setPlanned(preview && isLast() ? answer : null);
      if (!preview) {
        setMessage({ kind: "good", text: t("backfill.done", { n: answer.runs }) });
        onDone();
      }
    } catch (error) {
      setPlanned(null);
      if (!preview || isLast()) {
        setMessage({ kind: "problem", text: (error as ApiError).message });
      }
    }
    setBusy(false);
  };
  const change = (set: (text: string) => void) => (event: { currentTarget: { value: string } }) => {
    set(event.currentTarget.value);
    // what is being counted is not what is typed now
    turns();
    setPlanned(null);
  };
  return (
    <details class="fold">
      <summary>{t("backfill.title")}</summary>
      <form
        class="stack tight"
        onSubmit={(event) => {
          event.preventDefault();
          void ask(planned === null);
        }}
      >
        <p class="field-help">{t("backfill.about", { zone: schedule.time_zone })}</p>
        <div class="fields">
          <div class="field">
            <label for="backfill-from">{t("backfill.from")}</label>
            <input
              id="backfill-from"
              type="datetime-local"
              required
              value={from}
              onInput={change(setFrom)}
            />
          </div>
          <div class="field">
            <label for="backfill-to">{t("backfill.to")}</label>
            <input id="backfill-to" type="datetime-local" value={to} onInput={change(setTo)} />
          </div>
        </div>
        <div role="status" class="messages">
          {message !== null && <Notice kind={message.kind} title={message.text} />}
          {planned !== null && (
            <Notice
              kind="info"
              title={`${t("backfill.planned", { n: planned.runs })} ${
                t("backfill.kept", { n: planned.kept })
              }`}
            />
          )}
        </div>
        <div>
          <button
            type="submit"
            class={planned === null ? "button" : "button primary"}
            {...operator.control(busy || planned?.runs === 0)}
          >
            {planned === null ? t("backfill.preview") : t("backfill.run", { n: planned.runs })}
          </button>
        </div>
      </form>
    </details>
  );
}

mount("schedules", ScheduleList, { says: true });
