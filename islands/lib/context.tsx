import { type ComponentChildren, createContext } from "preact";
import { useContext, useEffect, useMemo, useState } from "preact/hooks";
import { createLocale, type Locale, type LocaleSettings, viewerZone } from "./locale.ts";
import type { Role } from "../../vocabulary/words.ts";

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
    setZone(viewerZone());
    setClock(Date.now());
    const timer = setInterval(() => setClock(Date.now()), TICK_MS);
    return () => clearInterval(timer);
  }, []);
  const locale = useMemo(() => createLocale({ ...settings, zone }), [zone]);
  const value = useMemo(() => ({ locale, now: clock }), [locale, clock]);
  return <LocaleContext.Provider value={value}>{children}</LocaleContext.Provider>;
}

const RANKS: Record<Role, number> = { viewer: 0, operator: 1, admin: 2 };

export interface Viewer {
  /** What the viewer may do; everything where nobody needs to sign in. */
  role: Role;
  /** Whether the server wants an API token. */
  needsToken: boolean;
  /** Where the server is, as the viewer's browser has it: "https://etl.example/tools". */
  origin: string;
}

export const ViewerContext = createContext<Viewer>({
  role: "admin",
  needsToken: false,
  origin: "",
});

/** The server's address, for examples. */
export const useOrigin = (): string => useContext(ViewerContext).origin;

/** What a request with curl needs besides: a header with the token, in a line of its own. */
export function useCurlHeader(): string {
  const { needsToken } = useContext(ViewerContext);
  return needsToken ? ' \\\n  -H "Authorization: Bearer $ETL_TOKEN"' : "";
}

/**
 * Properties of a control that only a role may use: disabled, with the reason,
 * for others. `busy` disables it for everybody.
 */
export function useRole(needed: Role): {
  may: boolean;
  /** Why not, for people; null where they may. */
  reason: string | null;
  control: (busy?: boolean) => { disabled: boolean; title?: string };
} {
  const { t } = useLocale();
  const may = RANKS[useContext(ViewerContext).role] >= RANKS[needed];
  const reason = may ? null : t("role.needed", { role: t(`role.${needed}`) });
  return {
    may,
    reason,
    control: (busy = false) =>
      reason === null ? { disabled: busy } : { disabled: true, title: reason },
  };
}
