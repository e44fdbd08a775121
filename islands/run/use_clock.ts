import { useEffect, useState } from "preact/hooks";
import { useNow } from "../lib/locale_context.tsx";

const TICK_MS = 500;

/** The time in ms, twice a second while something is going on. */
export function useClock(ticking: boolean): number {
  const shared = useNow();
  const [now, setNow] = useState(0);
  useEffect(() => {
    if (!ticking) return;
    const timer = setInterval(() => setNow(Date.now()), TICK_MS);
    return () => clearInterval(timer);
  }, [ticking]);
  return Math.max(shared, now);
}
