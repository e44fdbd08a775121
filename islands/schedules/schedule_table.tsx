import { useLocale } from "../lib/locale_context.tsx";
import { useRole } from "../lib/viewer.tsx";
import { Icon, type IconName } from "../ui/icon.tsx";
import { Time } from "../ui/time.tsx";
import type { ScheduleView } from "./schedule_data.ts";
import { SlotState } from "./slot_state.tsx";

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

export function ScheduleTable({ items, busy, onAction }: ScheduleTableProps) {
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
            <tr key={schedule.name}>
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
    return <span class="is-bad" lang="en">{schedule.problem}</span>;
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
