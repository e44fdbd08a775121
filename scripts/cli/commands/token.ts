import type { TokenView } from "../../../store/tokens.ts";
import { ROLES } from "../../../vocabulary/words.ts";
import { post, request } from "../api.ts";
import { type Action, type Call, type Command, printList, runAction } from "../command.ts";
import { EXIT, type ExitCode, UsageError } from "../exit_codes.ts";
import { minuteOf } from "../text.ts";

const HOURS: Record<string, number> = { h: 1, d: 24, w: 168 };

export const token: Command = {
  name: "token",
  summary: "API tokens: create, list, revoke",
  description:
    `API tokens give programs and people access to the HTTP interface and the dashboard. Once there is a
token, every request to a server needs one.

  etl token create NAME      create one and show it, once; --role sets what it may do:
                             viewer reads, operator also starts and stops work, admin also changes
                             configurations, schedules, tokens and the like
  etl token list             all of them, with when each was last used
  etl token revoke NAME      refuse it from now on, and end its dashboard sessions`,
  arguments: [
    { name: "ACTION", help: "create, list or revoke" },
    { name: "NAME", help: "who uses it: a program or a person", optional: true },
  ],
  options: {
    role: { type: "string", value: "ROLE", help: "create: viewer, operator or admin" },
    expires: {
      type: "string",
      value: "TIME",
      help: "create: time until it expires, e.g. 90d, 12h or 2w; default: never",
    },
  },
  examples: [
    "etl token create nightly-loader --role operator --expires 90d",
    "etl token create prometheus --role viewer > /etc/prometheus/etl.token",
    "etl token list",
    "etl token revoke nightly-loader",
  ],
  actions: () => Object.keys(ACTIONS),
  run: (call) => runAction("token", ACTIONS, call),
};

const ACTIONS: Record<string, Action> = {
  create: { needs: "the name of the token", run: create },
  list: { run: list },
  revoke: { needs: "the name of the token", run: revoke },
};

async function create(call: Call, name: string): Promise<ExitCode> {
  const { role, expires } = call.text;
  if (role === undefined || !ROLES.some((known) => known === role)) {
    throw new UsageError(
      `etl token create needs --role: ${ROLES.join(", ")}${
        role === undefined ? "" : `; not '${role}'`
      }`,
    );
  }
  const days = expires === undefined ? undefined : daysOf(expires);
  const api = await call.connect();
  const made = await post<TokenView & { token: string }>(api, "/api/tokens", {
    name,
    role,
    ...(days === undefined ? {} : { expires_in_days: days }),
  });
  if (call.flags.json) {
    call.out.line(JSON.stringify(made));
    return EXIT.succeeded;
  }
  // alone on the standard output, so that it can go into a file
  call.out.line(made.token);
  const until = made.expires_at === null ? "does not expire" : `expires at ${made.expires_at}`;
  call.err.line(`Token ${name} with the role ${role} ${until}. It is shown this once.`);
  return EXIT.succeeded;
}

async function list(call: Call): Promise<ExitCode> {
  const { items } = await request<{ items: TokenView[] }>(await call.connect(), "/api/tokens");
  return printList(call, items, {
    none: "There are no tokens: whoever works on this machine may do everything.",
    columns: [
      ["TOKEN", ({ name }) => name],
      ["ID", ({ token_id }) => token_id],
      ["ROLE", ({ role }) => role],
      ["CREATED", ({ created_at }) => minuteOf(created_at)],
      ["BY", ({ created_by }) => created_by],
      ["EXPIRES", ({ expires_at }) => minuteOf(expires_at)],
      ["LAST USED", ({ last_used_at }) => minuteOf(last_used_at)],
      ["STATE", stateOf],
    ],
  });
}

function stateOf({ revoked_at, expires_at }: TokenView): string {
  if (revoked_at !== null) return "revoked";
  return expires_at !== null && Date.parse(expires_at) <= Date.now() ? "expired" : "in use";
}

async function revoke(call: Call, name: string): Promise<ExitCode> {
  const path = `/api/tokens/${encodeURIComponent(name)}`;
  const gone = await request<TokenView>(await call.connect(), path, { method: "DELETE" });
  if (call.flags.json) call.out.line(JSON.stringify(gone));
  else call.out.line(`Token ${name} is revoked.`);
  return EXIT.succeeded;
}

/** "90d" in days. */
function daysOf(text: string): number {
  const [, amount, unit] = /^(\d{1,5})([hdw])$/.exec(text) ?? [];
  if (amount === undefined || Number(amount) === 0) {
    throw new UsageError(`--expires must be a number of h, d or w, such as 90d; not '${text}'`);
  }
  return Number(amount) * HOURS[unit!]! / 24;
}
