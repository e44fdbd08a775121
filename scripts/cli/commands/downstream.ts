import type { DeliveryState } from "../../../store/deliveries.ts";
import type { ReportView } from "../../../store/reports.ts";
import { post, request } from "../api.ts";
import { type Command, wholeNumber } from "../command.ts";
import { EXIT } from "../exit_codes.ts";

export const downstream: Command = {
  name: "downstream",
  summary: "run etl_downstream_example now, or a consumer of your own",
  description: `Runs etl_downstream_example, whose report \`etl reports\` shows. --analysis-type is
daily_summary (default), by_type or anomalies, or the name of a consumer of your own.`,
  options: {
    "analysis-type": { type: "string", value: "TYPE", help: "what to make; default daily_summary" },
    "top-n": {
      type: "string",
      value: "N",
      help: "how many the report lists, 1 to 1000; default 10",
    },
    cleanup: { type: "boolean", help: "remove what the run itself made besides its report" },
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
  description:
    "Shows the newest report that a consumer such as etl_downstream_example has written.",
  options: {
    "analysis-type": { type: "string", value: "TYPE", help: "of this kind only" },
    consumer: { type: "string", value: "NAME", help: "of this consumer only" },
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
