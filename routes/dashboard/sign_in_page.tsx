import { baseOf } from "../shared/base_path.ts";
import type { Context, Hono } from "hono";
import type { MessageKey } from "../../islands/i18n/en.ts";
import { useLocale } from "../../islands/lib/context.tsx";
import { Notice } from "../../islands/ui/elements.tsx";
import { createSession, endSession, endSessions } from "../../store/tokens.ts";
import { Problem } from "../../vocabulary/problem.ts";
import type { Access } from "../access/access.ts";
import { clientOfRequest } from "../access/client_address.ts";
import { newSession, tokenPrefix } from "../access/credential.ts";
import { identify } from "../access/require_access.ts";
import {
  checkPage,
  deleteSessionCookie,
  keepsSessions,
  readForm,
  readSessionCookie,
  returnPath,
  SESSION_HOURS,
  setSessionCookie,
} from "../access/session.ts";
import { type DashboardDeps, renderPage, SECURITY_HEADERS } from "./page.tsx";

/** Signing in with a token, for a session of twelve hours, and out. */
export function signInRoutes(pages: Hono, deps: DashboardDeps, access: Access): void {
  pages.get("/sign-in", async (c) => {
    const to = returnPath(c.req.query("to"));
    if (c.req.header("sec-fetch-site") === "cross-site") return askAgain(c, to);
    const known = await identify(c, deps, access).catch(() => null);
    return known === null ? await signInPage(c, deps, { to }) : c.redirect(to, 303);
  });
  pages.post("/sign-in", async (c) => {
    const form = await readForm(c);
    const to = returnPath(form.get("to"));
    const { address } = clientOfRequest(c, deps.config.trustedProxies);
    const token = String(form.get("token") ?? "").trim();
    try {
      await signIn(c, deps, { access, token, address });
    } catch (error) {
      const prefix = tokenPrefix(token);
      c.set("refused", { reason: "sign_in", ...(prefix === undefined ? {} : { token: prefix }) });
      const answer = await deps.wrongTokens.answerTo(error, c, token);
      const failure = signInFailure(answer);
      if (failure === null) throw answer;
      if (failure.status === 429) c.header("Retry-After", String(failure.seconds));
      return await signInPage(c, deps, { to, failure });
    }
    return c.redirect(to, 303);
  });
  pages.post("/sign-out", async (c) => {
    const cookie = readSessionCookie(c);
    const identity = cookie === undefined ? null : await access.bySession(cookie);
    if (identity !== null) {
      await checkPage(c, cookie!);
      if ((await readForm(c)).get("everywhere") === null) {
        await endSession(deps.sql, identity.session!.id, identity.name);
      } else await endSessions(deps.sql, identity.tokenId, identity.name);
      access.changed();
    }
    deleteSessionCookie(c);
    return c.redirect("/etl/sign-in", 303);
  });
}

/**
 * A link on another site, such as in a message, comes without the cookie, as that
 * is strict. Asked again by a page of ours, the browser sends it if it has one.
 */
function askAgain(c: Context, to: string): Response {
  const again = `/etl/sign-in?to=${encodeURIComponent(to)}`;
  return c.html(
    `<!doctype html><title>etl-improved</title><link rel="icon" href="data:,"><meta http-equiv="refresh" content="0;url=${
      baseOf(c)
    }${again}">`,
    200,
    { ...SECURITY_HEADERS, "cache-control": "no-store" },
  );
}

/** Makes a session for who shows this token. Throws the Problem that says what is wrong with it. */
async function signIn(
  c: Context,
  deps: DashboardDeps,
  { access, token, address }: { access: Access; token: string; address: string },
): Promise<void> {
  const { name, role, tokenId } = await access.byToken(token);
  const session = newSession();
  await createSession(deps.sql, {
    sessionId: session.id,
    hash: session.hash,
    tokenId,
    environmentHash: tokenId === null ? access.environmentHash : null,
    hours: SESSION_HOURS,
    actor: name,
    details: { role, token_id: tokenId, address },
  });
  setSessionCookie(c, session.text);
}

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
async function signInPage(
  c: Context,
  { assets, config }: DashboardDeps,
  { to, failure }: SignInPageOptions,
): Promise<Response> {
  return await renderPage(c, assets, {
    title: (t) => t("sign_in.title"),
    nav: null,
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
function signInFailure(error: unknown): SignInFailure | null {
  if (!(error instanceof Problem)) return null;
  if (error.status === 401) return { key: "sign_in.refused", status: 401, seconds: 0 };
  if (error.status !== 429) return null;
  const seconds = Number(error.extra.retry_after_seconds ?? 60);
  return { key: "sign_in.too_many", seconds, status: 429 };
}
