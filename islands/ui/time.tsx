import { useLocale, useNow } from "../lib/locale_context.tsx";
import type { TimeStyle } from "../lib/locale.ts";

/** A time in the viewer's zone, or how long ago; the exact one in UTC on hover. */
export function Time({ at, style = "short" }: { at: string; style?: TimeStyle | "relative" }) {
  const locale = useLocale();
  const now = useNow();
  return (
    <time dateTime={at} title={locale.utc(at)} data-format={style}>
      {style === "relative" ? locale.relative(at, now) : locale.dateTime(at, style)}
    </time>
  );
}
