import type { Connection } from "../lib/live.ts";
import { useLocale } from "../lib/locale_context.tsx";

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
