import type { MessageKey } from "../i18n/en.ts";
import { useLocale } from "../lib/locale_context.tsx";

/** Shapes differ as well as colours. */
const SHAPES: Record<string, string> = {
  queued: "M8 4.5V8l2.3 1.5",
  pending: "M5.5 8h5",
  running: "",
  succeeded: "M4.8 8.3l2.2 2.2 4.3-4.8",
  failed: "M5.5 5.5l5 5M10.5 5.5l-5 5",
  cancelled: "M4.5 11.5l7-7",
  skipped: "M5 5.5L8 8l-3 2.5M9 5.5L12 8l-3 2.5",
};

/** The symbol of a state of a run or stage. */
export function StateSymbol({ state }: { state: string }) {
  return (
    <svg
      class={`state-symbol is-${state}`}
      width="16"
      height="16"
      viewBox="0 0 16 16"
      aria-hidden="true"
    >
      <circle class="ring" cx="8" cy="8" r="6.5" />
      {state === "running" && <circle class="arc" cx="8" cy="8" r="6.5" pathLength="100" />}
      <path d={SHAPES[state] ?? ""} />
    </svg>
  );
}

/** A state in symbol, colour and word. */
export function StateBadge({ state }: { state: string }) {
  const { t } = useLocale();
  return (
    <span class={`state is-${state}`}>
      <StateSymbol state={state} />
      {t(`state.${state}` as MessageKey)}
    </span>
  );
}
