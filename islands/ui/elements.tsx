import type { MessageKey } from "../i18n/en.ts";
import { useLocale, useNow } from "../lib/context.tsx";
import type { ComponentChildren } from "preact";
import type { TimeStyle } from "../lib/locale.ts";
import type { Connection } from "../lib/live.ts";

const PATHS = {
  overview: "M3 3h7v9H3zM14 3h7v5h-7zM14 12h7v9h-7zM3 16h7v5H3z",
  pipelines: "M3 6h8M3 12h8M3 18h8M15 9V4h2v5zM19 9V6h2v3zM15 15v-4h2v4zM19 20v-6h2v6z",
  runs: "M8 6h13M8 12h13M8 18h13M3.5 6h.01M3.5 12h.01M3.5 18h.01",
  plus: "M12 5v14M5 12h14",
  schedules: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 7.5V12l3 2",
  configurations: "M4 7h9M17 7h3M4 17h3M11 17h9M15 4.8v4.4M9 14.8v4.4",
  variables:
    "M8 4H6.5A1.5 1.5 0 0 0 5 5.5V10l-2 2 2 2v4.5A1.5 1.5 0 0 0 6.5 20H8M16 4h1.5A1.5 1.5 0 0 1 19 5.5V10l2 2-2 2v4.5a1.5 1.5 0 0 1-1.5 1.5H16",
  pools: "M12 3l9 5-9 5-9-5zM3 12.5l9 5 9-5M3 17l9 5 9-5",
  suites: "M12 3l8 3v6c0 5-3.5 8-8 9-4.5-1-8-4-8-9V6zM8.5 12l2.5 2.5 4.5-5",
  datasets:
    "M4 6c0-1.7 3.6-3 8-3s8 1.3 8 3-3.6 3-8 3-8-1.3-8-3zM4 6v12c0 1.7 3.6 3 8 3s8-1.3 8-3V6M4 12c0 1.7 3.6 3 8 3s8-1.3 8-3",
  alerts: "M6 9a6 6 0 1 1 12 0c0 6 2.5 7.5 2.5 7.5h-17S6 15 6 9M10 20.5a2.2 2.2 0 0 0 4 0",
  reports: "M14 3H6v18h12V7zM14 3v4h4M9 12h6M9 16h6",
  docs: "M4 5.5A2.5 2.5 0 0 1 6.5 3H20v18H6.5A2.5 2.5 0 0 1 4 18.5zM4 18.5A2.5 2.5 0 0 1 6.5 16H20",
  keyboard: "M3 6h18v12H3zM7 10h.01M11 10h.01M15 10h.01M7 14h10",
  sun:
    "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v2M12 20v2M4.9 4.9l1.4 1.4M17.7 17.7l1.4 1.4M2 12h2M20 12h2M4.9 19.1l1.4-1.4M17.7 6.3l1.4-1.4",
  moon: "M20.5 14A8.5 8.5 0 0 1 10 3.5 8.5 8.5 0 1 0 20.5 14z",
  system: "M3 4h18v12H3zM8 20h8M12 16v4",
  menu: "M4 7h16M4 12h16M4 17h16",
  download: "M12 4v11M7 10.5l5 5 5-5M4 20h16",
  play: "M7 4.5l12 7.5-12 7.5z",
  pause: "M8 5v14M16 5v14",
  close: "M6 6l12 12M18 6L6 18",
  retry: "M4 12a8 8 0 1 1 2.5 5.8M4 19v-5h5",
  stop: "M6 6h12v12H6z",
  left: "M15 5l-7 7 7 7",
  right: "M9 5l7 7-7 7",
  up: "M6 15l6-6 6 6",
  down: "M6 9l6 6 6-6",
  edit: "M4 20l1-5L16 4l4 4L9 19zM13.5 6.5l4 4",
  trash: "M4 7h16M9 7V4h6v3M6.5 7l1 13h9l1-13M10 11v5M14 11v5",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  warning: "M12 4l9.5 16h-19zM12 10v4.5M12 17.3h.01",
  info: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 11v5.5M12 7.7h.01",
  check: "M4.5 12.5l5 5 10-11",
} as const;

export type IconName = keyof typeof PATHS;

/** A drawing of one line weight; says nothing to screen readers. */
export function Icon({ name, size = 16 }: { name: IconName; size?: number }) {
  return (
    <svg
      class="icon"
      width={size}
      height={size}
      viewBox="0 0 24 24"
      aria-hidden="true"
    >
      <path d={PATHS[name]} />
    </svg>
  );
}

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

/** A ring, and what is in it. */
const RING = "M8 1.5a6.5 6.5 0 1 1 0 13 6.5 6.5 0 1 1 0-13";

/** The symbols that a page has once and shows many times. */
export function Symbols() {
  return (
    <svg class="symbols" width="0" height="0" aria-hidden="true">
      {Object.entries(SHAPES).map(([state, shape]) => (
        <path key={state} id={`s-${state}`} d={RING + shape} />
      ))}
    </svg>
  );
}

/** The symbol of a state of a run or stage. */
export function StateSymbol({ state }: { state: string }) {
  if (state !== "running" && state !== "pending") {
    return (
      <svg class={`state-symbol is-${state}`} aria-hidden="true">
        <use href={`#s-${Object.hasOwn(SHAPES, state) ? state : "queued"}`} />
      </svg>
    );
  }
  return (
    <svg
      class={`state-symbol is-${state}`}
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

interface NoticeProps {
  kind: "problem" | "warning" | "info" | "good";
  title?: ComponentChildren;
  children?: ComponentChildren;
  /** Whether screen readers say it when it appears. */
  alert?: boolean;
}

const ICONS = { problem: "warning", warning: "warning", info: "info", good: "check" } as const;

/** A message that stands out. */
export function Notice({ kind, title, children, alert }: NoticeProps) {
  return (
    <div class={`notice is-${kind}`} {...(alert ? { role: "alert" as const } : {})}>
      <Icon name={ICONS[kind]} />
      <div class="notice-body">
        {title !== undefined && <p class="notice-title">{title}</p>}
        {children}
      </div>
    </div>
  );
}

/** A time in the viewer's zone, or how long ago; its script says the exact one in UTC on hover. */
export function Time({ at, style = "short" }: { at: string; style?: TimeStyle | "relative" }) {
  const locale = useLocale();
  const now = useNow();
  return (
    <time dateTime={at} data-format={style}>
      {style === "relative" ? locale.relative(at, now) : locale.dateTime(at, style)}
    </time>
  );
}

/** A text whose commands and names stand between backticks. */
export function Prose({ text }: { text: string }) {
  return <>{text.split("`").map((part, i) => i % 2 === 0 ? part : <code key={i}>{part}</code>)}</>;
}

/** What the server says, in the viewer's language as far as it is known, else in English. */
export function Said({ text, className }: { text: string; className?: string }) {
  const told = useLocale().said(text);
  return (
    <span class={className} lang={told === null ? "en" : undefined}>
      {told ?? text}
    </span>
  );
}

/** Whether what is shown is kept up to date. */
export function LiveMark({ connection }: { connection: Connection }) {
  const { t } = useLocale();
  return (
    <span class={`live-mark is-${connection}`} role="status">
      <span class="live-dot" aria-hidden="true" />
      {t(`live.${connection}`)}
    </span>
  );
}
