import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { Role } from "../../store/tokens.ts";
import { useLocale } from "./locale_context.tsx";

const RANKS: Record<Role, number> = { viewer: 0, operator: 1, admin: 2 };

export interface Viewer {
  /** What the viewer may do; everything where nobody needs to sign in. */
  role: Role;
  /** Whether the server wants an API token. */
  needsToken: boolean;
}

export const ViewerContext = createContext<Viewer>({ role: "admin", needsToken: false });

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
