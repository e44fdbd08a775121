/// <reference lib="dom" />
import { useEffect, useState } from "preact/hooks";
import { type ApiError, call } from "../lib/api.ts";
import { useLocale } from "../lib/locale_context.tsx";
import { Dialog } from "../ui/dialog.tsx";
import { Notice } from "../ui/notice.tsx";
import { Time } from "../ui/time.tsx";
import { Backfill } from "./backfill.tsx";
import { localText, type ScheduleView, type SlotView } from "./schedule_data.ts";
import { SlotState } from "./slot_state.tsx";

interface Slots {
  ahead: SlotView[];
  past: SlotView[];
  next: string | null;
}

const AHEAD = 5;
const PAGE = 20;

/** Slots of a schedule, to come and past, with what became of them; past ones can be run. */
export function SlotsDialog({ schedule, onClose }: { schedule: ScheduleView; onClose(): void }) {
  const { t } = useLocale();
  const [slots, setSlots] = useState<Slots | null>(null);
  const [failure, setFailure] = useState<string | null>(null);
  const url = `/api/schedules/${encodeURIComponent(schedule.name)}/slots?limit=${PAGE}`;
  const load = async (cursor: string | null) => {
    try {
      const page = await call<Slots>(
        cursor === null ? url : `${url}&cursor=${encodeURIComponent(cursor)}`,
        { offline: t("error.network") },
      );
      setSlots((before) =>
        before === null || cursor === null
          ? page
          : { ...page, past: [...before.past, ...page.past] }
      );
      setFailure(null);
    } catch (error) {
      setFailure((error as ApiError).message);
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
    <span class="slot-note quiet" lang="en">
      {blocked_by === null ? text : <a href={`/etl/runs/${blocked_by}`}>{text}</a>}
    </span>
  );
}
