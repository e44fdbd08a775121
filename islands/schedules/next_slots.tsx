/// <reference lib="dom" />
import { useEffect, useState } from "preact/hooks";
import { type ApiError, call } from "../lib/api.ts";
import { useLocale } from "../lib/locale_context.tsx";
import { Time } from "../ui/time.tsx";
import { localText } from "./schedule_data.ts";

interface Upcoming {
  cron_words: string;
  slots: { slot: string; local: string }[];
}

/** How long nothing is typed before the server is asked. */
const TYPING_MS = 250;

/** An expression in words and when it is due next, while it is being typed. */
export function NextSlots({ cron, timeZone }: { cron: string; timeZone: string }) {
  const { t, lang } = useLocale();
  const [upcoming, setUpcoming] = useState<Upcoming | null>(null);
  const [failure, setFailure] = useState<string | null>(null);
  useEffect(() => {
    let current = true;
    const timer = setTimeout(async () => {
      try {
        const answer = await call<Upcoming>("/api/schedules/preview", {
          method: "POST",
          body: { cron, time_zone: timeZone, count: 5 },
          headers: { "accept-language": lang },
          offline: t("error.network"),
        });
        if (!current) return;
        setUpcoming(answer);
        setFailure(null);
      } catch (error) {
        if (!current) return;
        setUpcoming(null);
        setFailure((error as ApiError).message);
      }
    }, TYPING_MS);
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [cron, timeZone]);
  return (
    <div class="next-slots" role="status">
      {failure !== null && <p class="field-error" lang="en">{failure}</p>}
      {upcoming !== null && (
        <>
          <p class="schedule-words">{upcoming.cron_words}</p>
          <ol class="slot-times">
            {upcoming.slots.map(({ slot, local }) => (
              <li key={slot}>
                <span class="slot-time">{localText(local)}</span>
                <span class="quiet">
                  <Time at={slot} style="relative" />
                </span>
              </li>
            ))}
          </ol>
        </>
      )}
    </div>
  );
}
