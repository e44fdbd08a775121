import type { ComponentChildren } from "preact";
import { Icon } from "./icon.tsx";

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
