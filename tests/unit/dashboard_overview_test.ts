import assert from "node:assert/strict";
import { Overview, type OverviewData, seriesOf } from "../../islands/overview.tsx";
import { type ChartKind, chartOf } from "../../islands/overview/charts.ts";
import type { HistoryPoint } from "../../store/dashboard.ts";
import type { RunView } from "../../vocabulary/run_schema.ts";
import { FakeEventSource, Living } from "../helpers/dom.ts";
import {
  attribute,
  contextsOf,
  element,
  elements,
  htmlOf,
  type Look,
  RUN,
  textOf,
} from "../helpers/pages.ts";

const TOKYO: Look = { zone: "Asia/Tokyo", now: "2026-01-02T02:30:05Z" };

function run(changes: Partial<RunView> = {}): RunView {
  return {
    run_id: RUN(1),
    run_label: "sales",
    state: "succeeded",
    dry_run: false,
    requested_at: "2026-01-01T23:30:05Z",
    ended_at: "2026-01-02T01:31:05Z",
    duration_ms: 2500,
    total_rows: 12_345,
    ratio: 0.95,
    low_ratio: false,
    counts: { inserted: 12_000, updated: 300, unchanged: 45 },
    ...changes,
  } as RunView;
}

function point(changes: Partial<HistoryPoint> = {}): HistoryPoint {
  return {
    run_id: RUN(1),
    run_label: "sales",
    status: "succeeded",
    dry_run: false,
    replay: false,
    ratio: 0.95,
    min_acceptance_ratio: 0.9,
    low_ratio: false,
    inserted: 12_000,
    updated: 300,
    unchanged: 45,
    rejected: 7,
    deleted: 2,
    marked: 3,
    duration_ms: 2500,
    created_at: "2026-01-01T23:31:05Z",
    ...changes,
  };
}

const empty: OverviewData = {
  recent: [],
  active: [],
  history: [],
  alerts: [],
  incidents: "",
  pools: [],
  schedules: [],
  health: [],
};

const html = (data: Partial<OverviewData>, look: Look = TOKYO, label: string | null = null) =>
  htmlOf(Overview, { data: { ...empty, ...data }, labels: ["sales", "stock"], label }, look);

const card = (page: string, name: string) =>
  element(page, "section", `aria-labelledby="${name}-title"`);

/** The key figures as "name: figure, note". */
const figures = (data: Partial<OverviewData>) =>
  elements(element(html(data), "dl", "figures"), "div", 'class="figure"').map((div) =>
    `${textOf(element(div, "dt"))}: ${elements(div, "dd").map(textOf).join(", ")}`
  );

Deno.test("the figures are those of the newest run that has ended, and what is going on now", () => {
  const data = {
    recent: [
      run({ run_id: RUN(2), state: "running", ended_at: null }),
      run(),
      run({ run_id: RUN(3) }),
    ],
    history: [point(), point({ run_id: RUN(3), min_acceptance_ratio: 0.5 })],
    active: [run({ state: "running" }), run({ state: "queued" }), run({ state: "queued" })],
  };
  assert.deepEqual(figures(data), [
    "Latest run: Succeeded, sales · 3 hr ago",
    "Acceptance ratio: 95%, at least 90% is required",
    "Rows: 12,345, 12,000 new · 300 changed · 45 unchanged",
    "Duration: 2.5 s, 4,938 rows/s",
    "Right now: 1 running, 2 runs wait",
  ]);
  const latest = element(html(data), "a", "figure-link");
  assert.equal(attribute(latest, "href"), `/etl/runs/${RUN(1)}`);
});

Deno.test("a ratio below what is required is marked and called so; one that meets it is not", () => {
  const ratio = (changes: Partial<RunView>) => {
    const data = { recent: [run(changes)], history: [point()] };
    const bad = elements(html(data), "dd", "figure-main is-bad").length;
    return [bad, figures(data)[1]];
  };
  assert.deepEqual(ratio({ ratio: 0.89, low_ratio: true }), [
    1,
    "Acceptance ratio: 89%, below the required 90%",
  ]);
  assert.deepEqual(ratio({ ratio: 0.9 }), [0, "Acceptance ratio: 90%, at least 90% is required"]);
});

Deno.test("what a run ended too early for is said so; of one that goes on nothing is said yet", () => {
  const none = { ratio: null, total_rows: null, duration_ms: null, counts: {} };
  assert.deepEqual(figures({ recent: [run({ ...none, state: "failed", dry_run: true })] }), [
    "Latest run: Failed, sales Dry run · 3 hr ago",
    "Acceptance ratio: –, the run ended earlier",
    "Rows: –, the run ended earlier",
    "Duration: –, the run ended earlier",
    "Right now: 0 running, 0 runs wait",
  ]);
  assert.deepEqual(
    figures({ recent: [run({ ...none, state: "running", ended_at: null })] }).slice(0, 4),
    [
      "Latest run: Running, sales · 3 hr ago",
      "Acceptance ratio: –, ",
      "Rows: –, ",
      "Duration: –, ",
    ],
  );
  // in no time there is no rate
  assert.equal(
    figures({ recent: [run({ duration_ms: 0 })] })[3],
    "Duration: 0 ms, the run ended earlier",
  );
});

Deno.test("the newest runs lead to their pages, with what each loaded", () => {
  const page = card(
    html({
      recent: [
        run({ run_label: "<b>", dry_run: true, low_ratio: true }),
        run({
          run_id: RUN(2),
          state: "cancelled",
          total_rows: null,
          ratio: null,
          duration_ms: null,
        }),
      ],
    }),
    "recent",
  );
  const rows = elements(element(page, "tbody"), "tr");
  assert.deepEqual(rows.map((row) => [element(row, "th"), ...elements(row, "td")].map(textOf)), [
    ["<b> Dry run 3 hr ago", "Succeeded", "02 Jan, 08:30", "12,345", "95%", "2.5 s"],
    ["sales 3 hr ago", "Cancelled", "02 Jan, 08:30", "–", "–", "–"],
  ]);
  assert.deepEqual(
    rows.map((row) => attribute(element(row, "a"), "href")),
    [`/etl/runs/${RUN(1)}`, `/etl/runs/${RUN(2)}`],
  );
  assert.deepEqual(elements(page, "td", "is-bad").map(textOf), ["95%"]);
});

Deno.test("the points of the charts are a table too, the newest first, with rows that went", () => {
  const page = element(
    html({
      recent: [run()],
      history: [
        point({ run_id: RUN(1), ratio: null, duration_ms: null, run_label: "old" }),
        point({ run_id: RUN(2), status: "failed" }),
      ],
    }),
    "details",
    "as-table",
  );
  const rows = elements(element(page, "tbody"), "tr");
  assert.deepEqual(rows.map((row) => elements(row, "td").map(textOf)), [
    ["02 Jan, 08:31", "sales", "Failed", "95%", "12,000", "300", "45", "5", "2.5 s"],
    ["02 Jan, 08:31", "old", "Succeeded", "–", "12,000", "300", "45", "5", "–"],
  ]);
  assert.equal(attribute(element(rows[0]!, "a"), "href"), `/etl/runs/${RUN(2)}`);
});

Deno.test("alerts, pools and schedules say how they are", () => {
  const page = html({
    alerts: [
      {
        alert_id: 1,
        kind: "low_ratio",
        severity: "error",
        message: "x <b>",
        run_id: RUN(1),
        run_label: "sales",
        created_at: "2026-01-02T00:30:05Z",
      },
      {
        alert_id: 2,
        kind: "own_kind",
        severity: "info",
        message: "y",
        run_id: null,
        run_label: null,
        created_at: "2026-01-02T01:30:05Z",
      },
    ] as OverviewData["alerts"],
    pools: [
      { pool: "small", slots: 4, running: 1, waiting: 0 },
      { pool: "busy", slots: 2, running: 3, waiting: 5 },
      { pool: "off", slots: 0, running: 0, waiting: 0 },
    ],
    schedules: [
      {
        name: "a",
        cron: "0 1 * * *",
        zone: "UTC",
        paused: false,
        next_slot: "2026-01-02T04:30:05Z",
      },
      { name: "b", cron: "@daily", zone: "UTC", paused: true, next_slot: "2026-01-02T04:30:05Z" },
      { name: "c", cron: "@daily", zone: "UTC", paused: false, next_slot: null },
    ],
  });
  const alerts = elements(card(page, "alerts"), "li");
  assert.deepEqual(alerts.map((row) => [attribute(row, "class"), textOf(row)]), [
    ["alert-row is-error", "Low acceptance ratio 2 hr ago x <b>"],
    ["alert-row is-info", "own_kind 1 hr ago y"],
  ]);
  assert.equal(attribute(element(alerts[0]!, "a"), "href"), `/etl/runs/${RUN(1)}`);
  const pools = elements(card(page, "pools"), "li");
  assert.deepEqual(pools.map(textOf), ["small 1 / 4", "busy 3 / 2 · 5 waiting", "off 0 / 0"]);
  assert.deepEqual(
    pools.map((row) => attribute(element(row, "rect", "meter-used"), "width")),
    ["25%", "100%", "0%"],
  );
  assert.equal(
    attribute(element(pools[1]!, "svg"), "aria-label"),
    "busy: 3 of 2 slots in use",
  );
  assert.deepEqual(elements(card(page, "schedules"), "li").map(textOf), [
    "a 0 1 * * * in 2 hr",
    "b @daily paused",
    "c @daily paused",
  ]);
  const none = html({});
  assert.match(textOf(card(none, "alerts")), /Nothing to report/);
  assert.match(textOf(card(none, "schedules")), /No schedule yet/);
});

Deno.test("health says each thing in the viewer's words, and of what has none in the server's", () => {
  const rows = elements(
    card(
      html({
        health: [
          { level: "problem", key: "", text: "no <table>" },
          { level: "ok", key: "health.workers", values: { n: 2, busy: 1 } },
        ],
      }, { lang: "es" }),
      "health",
    ),
    "li",
  );
  assert.deepEqual(rows.map((row) => [attribute(row, "class"), textOf(row)]), [
    ["health-row is-problem", "no <table>"],
    ["health-row is-ok", "1 de 2 workers están ocupados"],
  ]);
  assert.equal(attribute(element(rows[0]!, "span"), "lang"), "en");
});

Deno.test("the overview of a label says which, leads back, and offers the others", () => {
  const page = html({ recent: [run()] }, {}, "stock");
  assert.equal(textOf(element(page, "h1")), "stock");
  assert.equal(attribute(element(element(page, "p", "crumb"), "a"), "href"), "/etl");
  const options = elements(element(page, "select"), "option");
  assert.deepEqual(options.map(textOf), ["All labels", "sales", "stock"]);
  assert.deepEqual(
    options.filter((option) => attribute(option, "selected") !== null).map(textOf),
    ["stock"],
  );
  assert.match(textOf(html({}, {}, "stock")), /No run has this label/);
  assert.match(textOf(html({})), /No run yet/);
  // one label alone is no choice, unless it is chosen already
  const only = (label: string | null) =>
    elements(htmlOf(Overview, { data: empty, labels: ["sales"], label }), "select").length;
  assert.deepEqual([only(null), only("sales")], [0, 1]);
});

Deno.test("what has changed takes its place, and what has not stays; a lost stream is said", async () => {
  const data = {
    ...empty,
    pools: [{ pool: "small", slots: 1, running: 0, waiting: 0 }],
  };
  using living = await Living.of(Overview, { data, labels: [], label: "a&b" });
  const { stream } = living;
  assert.equal(stream!.url, "/etl/events?run_label=a%26b");
  assert.equal(textOf(element(living.html, "span", "live-mark")), "Connecting");
  await living.do(() => stream!.onopen!());
  assert.equal(textOf(element(living.html, "span", "live-mark is-live")), "Live");
  await living.do(() =>
    stream!.tell("parts", { health: [{ level: "problem", key: "", text: "down" }] })
  );
  assert.match(textOf(card(living.html, "health")), /Needs attention down/);
  assert.match(textOf(card(living.html, "pools")), /small/);
  await living.do(() => stream!.onerror!());
  assert.equal(textOf(element(living.html, "span", "live-mark")), "Reconnecting");
  assert.equal(FakeEventSource.opened.length, 1);
});

Deno.test("a hidden page holds no stream, and opens one again when it is seen", async () => {
  using living = await Living.of(Overview, { data: empty, labels: [], label: null });
  const see = (hidden: boolean) =>
    living.do(() => {
      living.hidden = hidden;
      living.document.dispatchEvent(living.event("visibilitychange"));
    });
  assert.equal(living.stream!.url, "/etl/events");
  await see(true);
  await see(true);
  assert.equal(living.stream!.readyState, FakeEventSource.CLOSED);
  await see(false);
  assert.equal(FakeEventSource.opened.length, 2);
  assert.equal(living.stream!.readyState, 0);
  await see(false);
  assert.equal(FakeEventSource.opened.length, 2);
  // one that was opened in another tab waits until it is looked at
  using later = await Living.of(Overview, { data: empty, labels: [], label: null }, {
    hidden: true,
  });
  assert.equal(later.stream, undefined);
});

interface Item {
  dataIndex: number;
  raw: number | null;
  dataset: { label: string };
}

/** What the tests look at of a chart. */
interface Drawn {
  data: {
    datasets: {
      label: string;
      data: (number | null)[];
      borderColor: string;
      pointBorderColor: string[];
      backgroundColor: string | string[];
      showLine: boolean;
    }[];
  };
  options: {
    onClick(event: object, elements: { index: number }[]): void;
    plugins: {
      tooltip: {
        filter(item: Item): boolean;
        callbacks: Record<"title" | "footer", (items: Item[]) => string> & {
          label(item: Item): string;
        };
      };
    };
    scales: Record<"x" | "y", {
      min: number;
      max: number;
      stacked: boolean;
      ticks: { callback(value: number, index?: number): string };
    }>;
  };
}

type Line = Drawn["data"]["datasets"][number];

const chart = (kind: ChartKind, points: HistoryPoint[], look: Look = TOKYO) => {
  const { locale } = contextsOf(look).locale;
  const series = seriesOf(points, "others");
  return chartOf(kind, { points, series, locale }, (name) => name) as unknown as Drawn;
};

Deno.test("a line of the ratio has the points of its label alone, and marks those that are too low", () => {
  const points = [
    point({ ratio: 0.7, low_ratio: true }),
    point({ run_label: "stock", ratio: null, min_acceptance_ratio: null }),
    point({ ratio: 1 }),
  ];
  const { data, options } = chart("ratio", points);
  const [sales, stock, required] = data.datasets as [Line, Line, Line];
  assert.deepEqual([sales.label, sales.data], ["sales", [0.7, null, 1]]);
  assert.deepEqual([stock.label, stock.data], ["stock", [null, null, null]]);
  assert.deepEqual(sales.pointBorderColor, ["danger", "series-0", "series-0"]);
  assert.equal(stock.borderColor, "series-1");
  assert.deepEqual([required.label, required.data], ["required", [0.9, null, 0.9]]);
  // a line would say that it is the same for all
  assert.equal(required.showLine, false);
  assert.equal(chart("ratio", [point(), point()]).data.datasets[1]!.showLine, true);
  const { y } = options.scales;
  assert.deepEqual([y.min, y.max, y.ticks.callback(0.955)], [0.65, 1, "95.5%"]);
  const met = chart("ratio", [point({ min_acceptance_ratio: 0.5 })]);
  assert.equal(met.options.scales.y.min, 0.45);
  assert.equal(chart("ratio", [point({ ratio: 0.01 })]).options.scales.y.min, 0);
});

Deno.test("bars of rows are stacked by what became of them, those of the duration have the run's colour", () => {
  const points = [point(), point({ status: "failed", duration_ms: null, inserted: 0 })];
  const rows = chart("rows", points);
  assert.deepEqual(
    rows.data.datasets.map(({ label, data, backgroundColor }) => [label, data, backgroundColor]),
    [
      ["Unchanged", [45, 45], "rows-unchanged"],
      ["Updated", [300, 300], "rows-updated"],
      ["Inserted", [12_000, 0], "rows-inserted"],
    ],
  );
  assert.deepEqual([rows.options.scales.x.stacked, rows.options.scales.y.stacked], [true, true]);
  assert.equal(rows.options.scales.y.ticks.callback(12_000), "12K");
  const { data, options } = chart("duration", points);
  assert.deepEqual(data.datasets[0]!.data, [2500, null]);
  assert.deepEqual(data.datasets[0]!.backgroundColor, ["state-succeeded", "state-failed"]);
  assert.equal(options.scales.y.ticks.callback(90_000), "1 min 30 s");
});

Deno.test("hovering says when, whose, how and how much, in the unit of the chart", () => {
  const said = (kind: ChartKind, value: number, label: string) => {
    const { callbacks, filter } =
      chart(kind, [point(), point({ status: "failed" })]).options.plugins
        .tooltip;
    const item = { dataIndex: 1, raw: value, dataset: { label } };
    assert.deepEqual([filter(item), filter({ ...item, raw: null })], [true, false]);
    return [callbacks.title([item]), callbacks.label(item), callbacks.footer([item])];
  };
  assert.deepEqual(said("ratio", 0.99999, "sales"), [
    "02 Jan 2026, 08:31:05 GMT+9",
    "sales: 99.99%",
    "sales · Failed",
  ]);
  assert.equal(said("rows", 1, "Inserted")[1], "Inserted: 1");
  assert.equal(said("duration", 1, "Duration")[1], "Duration: 1 ms");
  // a label that is called as another chart's values are
  assert.equal(said("ratio", 1, "Duration")[1], "Duration: 100%");
  assert.equal(said("ratio", 0.5, "Inserted")[1], "Inserted: 50%");
});

Deno.test("the axis of time says days only where there are several", () => {
  const tick = (last: string) => {
    const points = [point(), point({ created_at: last })];
    return chart("rows", points).options.scales.x.ticks.callback(0, 1);
  };
  assert.equal(tick("2026-01-02T23:31:04Z"), "08:31:04");
  assert.equal(tick("2026-01-02T23:31:05Z"), "03 Jan, 08:31");
});

Deno.test("a click on a chart opens the run that is there", () => {
  const before = Object.getOwnPropertyDescriptor(globalThis, "location")!;
  const went: string[] = [];
  Object.defineProperty(globalThis, "location", {
    value: { assign: (url: string) => went.push(url) },
    configurable: true,
  });
  try {
    const { onClick } = chart("rows", [point(), point({ run_id: RUN(2) })]).options;
    onClick({}, [{ index: 1 }]);
    onClick({}, []);
  } finally {
    Object.defineProperty(globalThis, "location", before);
  }
  assert.deepEqual(went, [`/etl/runs/${RUN(2)}`]);
});
