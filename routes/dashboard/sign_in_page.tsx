import type { Context } from "hono";
import type { MessageKey } from "../../islands/i18n/en.ts";
import { useLocale } from "../../islands/lib/context.tsx";
import { Notice } from "../../islands/ui/elements.tsx";
import { Problem } from "../../vocabulary/problem.ts";
import { keepsSessions } from "../access/session_cookie.ts";
import type { DashboardDeps } from "./dashboard.tsx";
import { renderPage } from "./page.tsx";

interface SignInFailure {
  key: MessageKey;
  status: 401 | 429;
  /** Until the next attempt may be made. */
  seconds: number;
}

interface SignInPageOptions {
  /** Where to go then; a path of this server. */
  to: string;
  /** What went wrong at the last attempt; default: this is the first one. */
  failure?: SignInFailure;
}

/** Where somebody pastes a token; works without scripts. */
export async function signInPage(
  c: Context,
  { assets, config }: DashboardDeps,
  { to, failure }: SignInPageOptions,
): Promise<Response> {
  return await renderPage(c, assets, {
    title: (t) => t("sign_in.title"),
    nav: null,
    alone: true,
    status: failure?.status ?? 200,
    main: <SignIn to={to} failure={failure} insecure={!keepsSessions(c, config)} />,
  });
}

interface SignInProps {
  to: string;
  failure: SignInFailure | undefined;
  /** Whether the browser will not keep the session. */
  insecure: boolean;
}

function SignIn({ to, failure, insecure }: SignInProps) {
  const { t } = useLocale();
  const [before, after] = t("sign_in.about").split("{command}");
  return (
    <section class="card sign-in" aria-labelledby="sign-in-title">
      <h1 id="sign-in-title">{t("sign_in.title")}</h1>
      <p class="quiet">
        {before}
        <code>deno task etl token create</code>
        {after}
      </p>
      {insecure && <Notice kind="warning" title={t("sign_in.insecure")} />}
      {failure !== undefined && (
        <Notice
          kind="problem"
          alert
          title={t(failure.key, { seconds: failure.seconds })}
        />
      )}
      <form method="post" action="/etl/sign-in" class="stack">
        <input type="hidden" name="to" value={to} />
        <div class="field">
          <label for="token">{t("sign_in.token")}</label>
          <input
            id="token"
            name="token"
            type="password"
            autocomplete="current-password"
            spellcheck={false}
            required
            maxLength={1000}
          />
        </div>
        <button type="submit" class="button primary">{t("sign_in.action")}</button>
      </form>
    </section>
  );
}

/** What the page says about an attempt that failed; null: this is no matter of the page. */
export function signInFailure(error: unknown): SignInFailure | null {
  if (!(error instanceof Problem)) return null;
  if (error.status === 401) return { key: "sign_in.refused", status: 401, seconds: 0 };
  if (error.status !== 429) return null;
  const seconds = Number(error.extra.retry_after_seconds ?? 60);
  return { key: "sign_in.too_many", seconds, status: 429 };
}
