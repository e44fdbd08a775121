import {
  type Context,
  context,
  propagation,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from "@opentelemetry/api";
import type { RunRow, StageReport } from "../../store/runs.ts";
import type { RunObserver } from "../observer.ts";

/** Deno exports what this tracer makes (OTEL_DENO=true); else it makes nothing. */
const tracer = trace.getTracer("etl-improved");

/** The context that a W3C traceparent stands for. */
function contextOf(traceparent: string | null): Context {
  return traceparent === null ? ROOT_CONTEXT : propagation.extract(ROOT_CONTEXT, { traceparent });
}

function traceparentOf(of: Context): string | null {
  const carrier: Record<string, string> = {};
  propagation.inject(of, carrier);
  return carrier.traceparent ?? null;
}

/** The traceparent of whatever is being traced here and now; null where nothing is. */
export function activeTraceparent(): string | null {
  return traceparentOf(context.active());
}

/** A span for each attempt of a run, below the trigger's, and one for each of its stages. */
export class RunTracer implements RunObserver {
  readonly #attempts = new Map<string, { span: Span; context: Context }>();

  attemptStarted(run: RunRow): void {
    const parent = contextOf(run.traceparent);
    const span = tracer.startSpan("etl.run", {
      kind: SpanKind.CONSUMER,
      attributes: {
        "etl.run_id": run.run_id,
        "etl.run_label": run.run_label,
        "etl.attempt": run.attempt,
        "etl.dataset": `${run.schema_name}.${run.table_name}`,
        "etl.dry_run": run.dry_run,
        "etl.trigger": run.trigger,
      },
    }, parent);
    this.#attempts.set(key(run), { span, context: trace.setSpan(parent, span) });
  }

  traceparent(run: RunRow): string | null {
    const attempt = this.#attempts.get(key(run));
    return attempt === undefined ? null : traceparentOf(attempt.context);
  }

  attemptEnded(run: RunRow, { how, stages }: { how: string; stages: StageReport[] }): void {
    const attempt = this.#attempts.get(key(run));
    if (attempt === undefined) return;
    this.#attempts.delete(key(run));
    for (const stage of stages) stageSpan(stage, attempt.context);
    attempt.span.setAttribute("etl.state", how);
    if (how === "failed") attempt.span.setStatus({ code: SpanStatusCode.ERROR });
    attempt.span.end();
  }
}

const key = (run: RunRow) => `${run.run_id} ${run.attempt}`;

function stageSpan(report: StageReport, parent: Context): void {
  if (report.started_at === null) return;
  const span = tracer.startSpan(`etl.stage.${report.stage}`, {
    startTime: new Date(report.started_at),
    attributes: {
      "etl.stage": report.stage,
      "etl.state": report.state,
      "etl.busy_ms": report.busy_ms,
      "etl.records_in": report.records_in,
      "etl.records_out": report.records_out,
    },
  }, parent);
  if (report.state === "failed") span.setStatus({ code: SpanStatusCode.ERROR });
  span.end(report.ended_at === null ? new Date() : new Date(report.ended_at));
}

/** Carries out a task of a run within a span of its own, below the run's. */
export function traced<T>(
  name: string,
  { traceparent, attributes }: {
    traceparent: string | null;
    attributes: Record<string, string | number>;
  },
  work: () => Promise<T>,
): Promise<T> {
  const parent = contextOf(traceparent);
  const span = tracer.startSpan(name, { attributes }, parent);
  return context.with(trace.setSpan(parent, span), async () => {
    try {
      return await work();
    } catch (error) {
      span.setStatus({
        code: SpanStatusCode.ERROR,
        message: error instanceof Error ? error.message.slice(0, 300) : String(error),
      });
      throw error;
    } finally {
      span.end();
    }
  });
}
