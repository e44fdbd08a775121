import type { Tried } from "../../../pipeline/consumers/sql_consumer.ts";
import type { ConsumerView } from "../../../store/datasets.ts";
import type { DeliveryState } from "../../../store/deliveries.ts";
import type { ReportView } from "../../../store/reports.ts";
import { post, request } from "../api.ts";
import { type Command, printList, wholeNumber } from "../command.ts";
import { EXIT, UsageError } from "../exit_codes.ts";

export const downstream: Command = {
  name: "downstream",
  summary: "run etl_downstream_example or your own consumer now",
  description: `Runs etl_downstream_example, whose report \`etl reports\` shows. --analysis-type is
daily_summary (default), by_type or anomalies, or the name of a consumer of your own.`,
  options: {
    "analysis-type": {
      type: "string",
      value: "TYPE",
      help: "kind of report; default daily_summary",
    },
    "top-n": {
      type: "string",
      value: "N",
      help: "how many the report lists, 1 to 1000; default 10",
    },
    cleanup: { type: "boolean", help: "remove what this run created besides its report" },
  },
  examples: ["etl downstream", "etl downstream --analysis-type anomalies --top-n 5"],
  async run(call) {
    const { text, flags, out } = call;
    const api = await call.connect({ executes: true });
    const done = await post<DeliveryState>(api, "/api/etl/downstream?wait=true", {
      ...(text["analysis-type"] === undefined ? {} : { analysis_type: text["analysis-type"] }),
      ...(text["top-n"] === undefined ? {} : {
        top_n: wholeNumber(call, "top-n", { least: 1, most: 1000, otherwise: 10 }),
      }),
      ...(flags.cleanup ? { cleanup: true } : {}),
    });
    if (flags.json) out.line(JSON.stringify(done));
    else if (done.state === "done") {
      out.line(
        `${done.consumer}: ${JSON.stringify(done.result)}. \`etl reports\` shows the report.`,
      );
    } else {out.line(
        `${done.consumer}: ${done.state}${done.error === null ? "" : `: ${done.error}`}`,
      );}
    return done.state === "done" ? EXIT.succeeded : EXIT.failed;
  },
};

export const reports: Command = {
  name: "reports",
  summary: "the newest report of a consumer",
  description: "Shows the newest report of a consumer such as etl_downstream_example.",
  options: {
    "analysis-type": { type: "string", value: "TYPE", help: "only of this kind" },
    consumer: { type: "string", value: "NAME", help: "only of this consumer" },
  },
  examples: ["etl reports", "etl reports --analysis-type by_type --json"],
  async run({ text, flags, out, err, connect }) {
    const query = new URLSearchParams();
    if (text.consumer !== undefined) query.set("consumer", text.consumer);
    if (text["analysis-type"] !== undefined) query.set("analysis_type", text["analysis-type"]);
    const found = await request<ReportView>(await connect(), `/api/reports/latest?${query}`);
    if (flags.json) {
      out.line(JSON.stringify(found));
      return EXIT.succeeded;
    }
    err.line(`${found.consumer}, ${found.analysis_type}, ${found.created_at}`);
    out.line(JSON.stringify(found.report, null, 2));
    return EXIT.succeeded;
  },
};

export const consumer: Command = {
  name: "consumer",
  summary: "consumers and their pending events; try an SQL consumer, or run one now",
  description:
    `Without arguments lists the consumers. try: executes the current NAME.sql of ETL_CONSUMERS_DIR with
the newest event of its datasets, and rolls back. run: executes a registered consumer without an
event (:since is -infinity).`,
  arguments: [
    { name: "ACTION", help: "list, try or run", optional: true },
    { name: "NAME", help: "of the consumer", optional: true },
  ],
  actions: () => ["list", "try", "run"],
  options: {},
  examples: ["etl consumer", "etl consumer try orders_daily", "etl consumer run orders_daily"],
  async run(call) {
    const { args: [action = "list", name], flags, out } = call;
    if (action !== "list" && name === undefined) {
      throw new UsageError(`etl consumer ${action} needs the name of a consumer`);
    }
    if (action === "try") {
      const tried = await post<Tried>(
        await call.connect(),
        `/api/consumers/${encodeURIComponent(name!)}/try`,
        {},
      );
      if (flags.json) out.line(JSON.stringify(tried));
      else {
        const event = tried.event_no === null ? "without an event" : `with event ${tried.event_no}`;
        const { inserted, updated, deleted } = tried;
        const rows = inserted === undefined
          ? "rows that are not counted"
          : `${inserted} inserted, ${updated} updated, ${deleted} deleted`;
        out.line(`${name}, ${event}: ${rows}, in ${tried.elapsed_ms} ms. It was undone.`);
      }
      return EXIT.succeeded;
    }
    if (action === "run") {
      const api = await call.connect({ executes: true });
      const done = await post<DeliveryState>(api, "/api/etl/downstream?wait=true", {
        analysis_type: name,
      });
      if (flags.json) out.line(JSON.stringify(done));
      else {
        const said = done.state === "done" ? JSON.stringify(done.result) : done.error ?? "";
        out.line(`${name}: ${done.state} ${said}`.trim());
      }
      return done.state === "done" ? EXIT.succeeded : EXIT.failed;
    }
    const { items } = await request<{ items: ConsumerView[] }>(
      await call.connect(),
      "/api/consumers",
    );
    return printList(call, flags.json ? items : items.filter(({ active }) => active), {
      columns: [
        ["CONSUMER", ({ consumer }) => consumer],
        ["LISTENS", ({ datasets }) => datasets.join(", ")],
        ["WRITES", ({ emits }) => emits.join(", ")],
        ["WAITS", ({ pending }) => String(pending)],
        ["FAILED", ({ failed }) => String(failed)],
        ["LAST", ({ last_done_at }) => last_done_at?.slice(0, 19).replace("T", " ") ?? ""],
        [
          "ERROR",
          ({ failed, pending, last_error }) => failed + pending > 0 ? last_error ?? "" : "",
          { maxWidth: 60 },
        ],
      ],
    });
  },
};
