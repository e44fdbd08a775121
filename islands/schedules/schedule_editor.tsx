/// <reference lib="dom" />
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import type { FieldError } from "../../vocabulary/problem.ts";
import type { MessageKey } from "../i18n/en.ts";
import { type ApiError, call } from "../lib/api.ts";
import { useLocale } from "../lib/locale_context.tsx";
import { Dialog } from "../ui/dialog.tsx";
import { Notice } from "../ui/notice.tsx";
import { NextSlots } from "./next_slots.tsx";
import type { ScheduleView } from "./schedule_data.ts";

interface EditorProps {
  /** The schedule to change; null: a new one. */
  schedule: ScheduleView | null;
  onSaved(name: string): void;
  onClose(): void;
}

const POLICIES = { missed: ["last", "all", "none"], overlap: ["skip", "queue", "cancel"] } as const;

/** Creates or changes a schedule; says while it is typed when it will be due. */
export function ScheduleEditor({ schedule, onSaved, onClose }: EditorProps) {
  const { t, zone } = useLocale();
  const [texts, setTexts] = useState({
    name: schedule?.name ?? "",
    description: schedule?.description ?? "",
    cron: schedule?.cron ?? "0 6 * * *",
    time_zone: schedule?.time_zone ?? zone,
    conf: JSON.stringify(schedule?.conf ?? { batch_size: 1000 }, null, 2),
    missed: schedule?.missed ?? "last",
    grace_seconds: String(schedule?.grace_seconds ?? 120),
    overlap: schedule?.overlap ?? "skip",
  });
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
        body: {
          ...rest,
          description: description.trim() === "" ? null : description,
          conf: JSON.parse(conf),
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
        {field("conf", <textarea rows={7} {...bind("conf")} />)}
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
      {errors.length > 0 && (
        <p class="field-error" lang="en">
          {errors.map(({ field, message, expected }) =>
            `${field} ${message}${expected === undefined ? "" : `: ${expected}`}`
          ).join("; ")}
        </p>
      )}
      <p class="field-help" id={`schedule-${name}-help`}>
        {t(`schedule.help_${name}` as MessageKey)}
      </p>
    </div>
  );
}

/** Errors of a field and of what is inside it. */
function errorsOf(errors: FieldError[], name: string): FieldError[] {
  return errors.filter(({ field }) => field === name || field.startsWith(`${name}.`));
}
