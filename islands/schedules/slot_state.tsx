import type { MessageKey } from "../i18n/en.ts";
import { useLocale } from "../lib/locale_context.tsx";
import { StateBadge, StateSymbol } from "../ui/state.tsx";
import type { SlotView } from "./schedule_data.ts";

const SYMBOLS = {
  pending: "pending",
  requested: "queued",
  skipped: "skipped",
  missed: "cancelled",
  failed: "failed",
} as const;

/** What became of a slot; leads to its run. */
export function SlotState(
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
