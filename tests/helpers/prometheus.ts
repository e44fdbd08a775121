import { waitFor } from "./wait_for.ts";
import { isThere } from "./needs.ts";

export interface PrometheusOptions {
  /** "127.0.0.1:PORT" of what is scraped at /api/etl/metrics, every second. */
  target: string;
  /** Rule files. */
  rules?: string[];
}

/** A real Prometheus that scrapes a server. */
export interface Prometheus extends AsyncDisposable {
  /** "http://127.0.0.1:PORT" */
  address: string;
  /** The samples that an instant query gives. */
  query(expression: string): Promise<{ metric: Record<string, string>; value: string }[]>;
}

/** Whether Debian's prometheus is installed, for `ignore` of a test. */
export function prometheusIsInstalled(): boolean {
  const isFile = (path: string) => {
    try {
      return Deno.statSync(path).isFile;
    } catch {
      return false;
    }
  };
  return isThere(
    ["/usr/bin/prometheus", "/usr/bin/promtool"].every(isFile),
    "install prometheus for the tests of its rules and of the scrape",
  );
}

/** Starts it and waits until it has scraped. */
export async function startPrometheus(options: PrometheusOptions): Promise<Prometheus> {
  const dir = await Deno.makeTempDir({ prefix: "etl-prometheus-" });
  await Deno.writeTextFile(
    `${dir}/prometheus.yml`,
    JSON.stringify({
      global: { scrape_interval: "1s", evaluation_interval: "1s" },
      rule_files: options.rules ?? [],
      scrape_configs: [{
        job_name: "etl-improved",
        metrics_path: "/api/etl/metrics",
        static_configs: [{ targets: [options.target] }],
      }],
    }),
  );
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  listener.close();
  const child = new Deno.Command("/usr/bin/prometheus", {
    args: [
      `--config.file=${dir}/prometheus.yml`,
      `--storage.tsdb.path=${dir}/data`,
      `--web.listen-address=127.0.0.1:${port}`,
    ],
    stdout: "null",
    stderr: "null",
  }).spawn();
  const address = `http://127.0.0.1:${port}`;
  const query: Prometheus["query"] = async (expression) => {
    const response = await fetch(`${address}/api/v1/query`, {
      method: "POST",
      body: new URLSearchParams({ query: expression }),
    });
    const answer = await response.json();
    if (answer.status !== "success") throw new Error(`${expression}: ${answer.error}`);
    return answer.data.result.map((
      each: { metric: Record<string, string>; value: [number, string] },
    ) => ({
      metric: each.metric,
      value: each.value[1],
    }));
  };
  const prometheus = {
    address,
    query,
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.status;
      await Deno.remove(dir, { recursive: true });
    },
  };
  try {
    await waitFor(async () => (await query("up"))[0]?.value === "1", {
      timeoutMs: 30_000,
      what: "Prometheus to scrape",
    });
    return prometheus;
  } catch (error) {
    await prometheus[Symbol.asyncDispose]();
    throw error;
  }
}

/** Runs promtool; throws with what it says when it finds something. */
export async function promtool(args: string[], cwd: string): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command("/usr/bin/promtool", {
    args,
    cwd,
    stdin: "null",
  }).output();
  const said = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  if (!success) throw new Error(`promtool ${args.join(" ")}:\n${said}`);
  return said;
}
