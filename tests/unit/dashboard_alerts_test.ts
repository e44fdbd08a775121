import assert from "node:assert/strict";
import { alertsPage } from "../../routes/dashboard/alerts_page.tsx";
import type { AlertView, OpenIncident } from "../../store/alerts.ts";
import { ALERT_KINDS } from "../../vocabulary/alert_kinds.ts";
import {
  attribute,
  element,
  elements,
  mainOf,
  newAssets,
  textOf,
  type Visit,
} from "../helpers/pages.ts";

const RUN = "00000000-0000-4000-8000-000000000001";

function alert(changes: Partial<AlertView> = {}): AlertView {
  return {
    alert_id: 1,
    kind: "low_ratio",
    severity: "warning",
    message: "x <b>",
    run_id: null,
    run_label: null,
    fingerprint: "low_ratio:sales",
    details: {},
    suppressed: false,
    created_at: "2026-01-01T23:30:05Z",
    resolved_at: null,
    notified: {},
    ...changes,
  };
}

function incident(changes: Partial<OpenIncident> = {}): OpenIncident {
  return {
    fingerprint: "low_ratio:sales",
    kind: "low_ratio",
    subject: "a&b",
    opened_at: "2026-01-01T23:30:05Z",
    last_at: "2026-01-02T23:30:05Z",
    occurrences: 3,
    acknowledged_at: null,
    acknowledged_by: null,
    silenced_until: null,
    silenced_by: null,
    severity: "error",
    message: "x <b>",
    run_id: RUN,
    ...changes,
  };
}

interface Shown extends Visit {
  all?: AlertView[];
  incidents?: OpenIncident[];
  open?: number;
  path?: string;
}

function page(shown: Shown): Promise<string> {
  const { all = [], incidents = [], open = incidents.length, path = "/etl/alerts" } = shown;
  return mainOf(alertsPage, path, {
    headers: { cookie: "etl_zone=Asia%2FTokyo" },
    ...shown,
    found: { alerts: { mark: "m1", all, incidents, open } },
  });
}

const listOf = (html: string, id: string) => elements(element(html, "div", `id="${id}"`), "li");
const as = (role: "viewer" | "operator") => ({
  identity: { name: "ada", role, via: "token" as const, tokenId: "1" },
});

Deno.test("an open incident says what it is of, how often it happened and who knows of it", async () => {
  const html = await page({
    incidents: [
      incident(),
      incident({
        fingerprint: "f2",
        kind: "own_kind",
        occurrences: 1,
        severity: null,
        message: null,
        run_id: null,
        acknowledged_at: "2026-01-02T00:00:00Z",
        acknowledged_by: "ada",
        silenced_until: new Date(Date.now() + 60_000).toISOString(),
        silenced_by: null,
      }),
      incident({
        fingerprint: "f3",
        acknowledged_at: "2026-01-02T00:00:00Z",
        silenced_until: "2026-01-02T00:00:00Z",
      }),
    ],
    open: 1200,
    ...as("operator"),
  });
  assert.match(textOf(element(html, "section", "incidents-title")), /^Open incidents 1,200 open /);
  const rows = listOf(html, "incidents");
  assert.match(
    textOf(rows[0]!),
    /^Low acceptance ratio · a&b 02 Jan 2026, 08:30:05 GMT\+9 x <b> Run happened 3 times Acknowledge Silence for an hour Close$/,
  );
  assert.equal(attribute(element(rows[0]!, "a"), "href"), `/etl/runs/${RUN}`);
  assert.deepEqual(rows.map((row) => attribute(row, "class")), [
    "alert-row is-error",
    "alert-row is-warning",
    "alert-row is-error",
  ]);
  assert.match(
    textOf(rows[1]!),
    /^own_kind · a&b .* GMT\+9 happened once acknowledged \(ada\) silenced until \d\d \w+ \d{4}, .* GMT\+9 Close$/,
  );
  // one that is over silences nothing; who acknowledged it is not known where nobody has a token
  assert.deepEqual(elements(rows[2]!, "button").map(textOf), [
    "Silence for an hour",
    "Close",
  ]);
  assert.match(textOf(rows[2]!), /happened 3 times acknowledged Silence/);
  // what its script goes by
  assert.equal(attribute(rows[1]!, "data-row"), "f2");
  assert.equal(attribute(element(html, "div", 'id="incidents"'), "data-mark"), "m1");
  assert.deepEqual(
    elements(rows[0]!, "button").map((button) => [
      attribute(button, "data-handle"),
      attribute(button, "aria-label"),
    ]),
    [
      ["acknowledge", "Acknowledge: Low acceptance ratio a&b"],
      ["silence", "Silence for an hour: Low acceptance ratio a&b"],
      ["close", "Close: Low acceptance ratio a&b"],
    ],
  );
});

Deno.test("who may only look cannot handle an incident, and is told why", async () => {
  const buttons = async (role: "viewer" | "operator") =>
    elements(
      listOf(await page({ incidents: [incident()], ...as(role) }), "incidents")[0]!,
      "button",
    )
      .map((button) => [attribute(button, "disabled"), attribute(button, "title")]);
  assert.deepEqual(await buttons("viewer"), Array(3).fill(["", "This needs the role operator."]));
  assert.deepEqual(await buttons("operator"), Array(3).fill([null, null]));
});

Deno.test("an alert says how grave it is, whether it goes on, what to do and who was told", async () => {
  const rows = listOf(
    await page({
      all: [
        alert({
          run_id: RUN,
          run_label: "sales",
          notified: { email: "failed", slack: "sent" },
          suppressed: true,
        }),
        alert({
          alert_id: 2,
          kind: "own_kind",
          severity: "info",
          run_id: RUN,
          resolved_at: "2026-01-02T00:00:00Z",
        }),
        alert({ alert_id: 3, kind: "own_kind", severity: "odd", message: "y" }),
        alert({ alert_id: 4, message: "z", resolved_at: "2026-01-02T00:00:00Z" }),
      ],
    }),
    "alerts",
  );
  assert.deepEqual(
    rows.map(textOf),
    [
      "Low acceptance ratio (warning) Open Not sent again 02 Jan 2026, 08:30:05 GMT+9 x <b> What to do sales email: not delivered slack: sent",
      "own_kind (information) Resolved 02 Jan 2026, 08:30:05 GMT+9 x <b> Run Resolved 02 Jan, 09:00",
      "own_kind (odd) Open 02 Jan 2026, 08:30:05 GMT+9 y",
      "Low acceptance ratio (warning) Resolved 02 Jan 2026, 08:30:05 GMT+9 z Resolved 02 Jan, 09:00",
    ],
  );
  assert.deepEqual(rows.map((row) => attribute(row, "class")), [
    "alert-row is-warning",
    "alert-row is-info",
    "alert-row is-odd",
    "alert-row is-warning",
  ]);
  assert.deepEqual(elements(rows[0]!, "a").map((a) => attribute(a, "href")), [
    "#do-low_ratio",
    `/etl/runs/${RUN}`,
  ]);
  const icons = rows.map((row) => attribute(element(row, "path"), "d"));
  assert.equal(icons[0], icons[2]);
  assert.notEqual(icons[0], icons[1]);
});

Deno.test("the filters leave what they say, and all kinds can be chosen", async () => {
  const all = [
    alert({ message: "one" }),
    alert({ alert_id: 2, kind: "own_kind", message: "two" }),
    alert({ alert_id: 3, message: "three", resolved_at: "2026-01-02T00:00:00Z" }),
  ];
  const shown = async (query: string) =>
    listOf(await page({ all, path: `/etl/alerts?${query}` }), "alerts")
      .map((row) => textOf(element(row, "p", "alert-text")));
  assert.deepEqual(await shown(""), ["one", "two", "three"]);
  assert.deepEqual(await shown("state=open"), ["one", "two"]);
  assert.deepEqual(await shown("state=resolved"), ["three"]);
  assert.deepEqual(await shown("kind=low_ratio"), ["one", "three"]);
  assert.deepEqual(await shown("kind=own_kind&state=open"), ["two"]);
  const html = await page({ all, path: "/etl/alerts?kind=own_kind&state=resolved" });
  assert.deepEqual(
    elements(html, "option", " selected").map((option) => attribute(option, "value")),
    ["own_kind", "resolved"],
  );
  const kinds = elements(element(html, "select", 'name="kind"'), "option");
  assert.deepEqual(
    kinds.map((option) => attribute(option, "value")),
    ["", ...[...Object.keys(ALERT_KINDS), "own_kind"].sort()],
  );
  assert.match(textOf(element(html, "div", 'id="alerts"')), /^No alert matches these filters\.$/);
  assert.match(textOf(element(await page({}), "div", 'id="alerts"')), /^Nothing to report\./);
});

Deno.test("each kind of alert has its advice, where the alerts lead to", async () => {
  const html = await page({});
  for (const kind of Object.keys(ALERT_KINDS)) {
    const [title, advice] = ["dt", "dd"].map((tag) =>
      textOf(element(element(html, "div", `id="do-${kind}"`), tag))
    );
    assert.ok(title !== advice && advice!.length > 20, kind);
  }
});

Deno.test("who was told of a change sees it within the second; a filter is no other's", async () => {
  const asked = new Set<string>();
  const alerts = (key: string) => {
    asked.add(key);
    return { mark: "", all: [], incidents: [], open: 0 };
  };
  for (const since of ["a", "b"]) {
    await mainOf(alertsPage, `/etl/alerts?since=${since}`, { found: { alerts } });
  }
  assert.equal(asked.size, 2);
  const assets = newAssets();
  const shows = async (path: string, message: string) =>
    (await page({ all: [alert({ message })], path, assets })).includes(`>${message}<`);
  assert.ok(await shows("/etl/alerts?since=a", "first"));
  assert.ok(await shows("/etl/alerts?since=b", "second"));
  assert.ok(await shows("/etl/alerts?since=b&state=open", "third"));
});
