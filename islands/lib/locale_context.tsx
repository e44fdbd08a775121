import { type ComponentChildren, createContext } from "preact";
import { useContext, useEffect, useMemo, useState } from "preact/hooks";
import { createLocale, type Locale, type LocaleSettings } from "./locale.ts";

/** A locale, and the time that "ago" is counted from, in ms. */
export interface LocaleNow {
  locale: Locale;
  now: number;
}

export const LocaleContext = createContext<LocaleNow>(undefined as unknown as LocaleNow);

export const useLocale = (): Locale => useContext(LocaleContext).locale;
export const useNow = (): number => useContext(LocaleContext).now;

interface ProviderProps {
  settings: LocaleSettings;
  /** The server's clock when it rendered, so that the first render is the same here. */
  now: number;
  children: ComponentChildren;
}

/** Between two looks at the clock, in ms. */
const TICK_MS = 5000;

/** In the browser: begins as the server rendered, then goes on in the viewer's own zone and time. */
export function LocaleProvider({ settings, now, children }: ProviderProps) {
  const [zone, setZone] = useState(settings.zone);
  const [clock, setClock] = useState(now);
  useEffect(() => {
    setZone(Intl.DateTimeFormat().resolvedOptions().timeZone ?? "UTC");
    setClock(Date.now());
    const timer = setInterval(() => setClock(Date.now()), TICK_MS);
    return () => clearInterval(timer);
  }, []);
  const locale = useMemo(() => createLocale({ ...settings, zone }), [zone]);
  const value = useMemo(() => ({ locale, now: clock }), [locale, clock]);
  return <LocaleContext.Provider value={value}>{children}</LocaleContext.Provider>;
}
