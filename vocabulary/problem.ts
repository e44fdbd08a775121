import { type Message, verbatim } from "./messages.ts";
import { PROBLEM_TYPES, type ProblemExplanation, type ProblemType } from "./problem_types.ts";

export type { ProblemType };

/**
 * What may be wrong with a field. pipeline/conf_errors.ts and etl.schema_errors give the same code and the same words
 * for the same mistake.
 */
export const ERROR_CODES = [
  "unknown-name",
  "missing",
  "wrong-type",
  "unknown-type",
  "too-small",
  "too-large",
  "too-short",
  "too-long",
  "not-accepted",
  "wrong-form",
  // which no schema says
  "invalid",
  "not-storable",
  "not-found",
  "conflict",
  "secret",
] as const;
export type ErrorCode = (typeof ERROR_CODES)[number];

/**
 * One thing that is wrong with a request or a run, in the terms of RFC 9457.
 * `field` is a JSON-pointer-like path ("source.key[0]"), `value` what was
 * given (shortened), `expected` what would be right.
 */
export interface FieldError {
  field: string;
  value?: unknown;
  /** What kind of error it is, for programs; errors of confs and requests have one. */
  code?: ErrorCode;
  message: string;
  expected?: string;
}

/** Errors that one answer names at most: more help nobody, and finding them must not cost more either. */
export const MAX_ERRORS = 100;

/** Errors in one line: "an error: x is missing", "12 errors: …". */
export function errorsText(errors: FieldError[]): string {
  const count = errors.length === 1
    ? "an error"
    : `${errors.length >= MAX_ERRORS ? "at least " : ""}${errors.length} errors`;
  const told = errors.slice(0, 20).map(({ field, message }) => `${field} ${message}`.slice(0, 500));
  const more = errors.length > told.length ? "; …" : "";
  return `${count}: ${told.join("; ")}${more}`;
}

/** A problem as it is stored with a run and sent as application/problem+json. */
export interface ProblemDetails {
  type: string;
  title: string;
  status: number;
  detail: string;
  instance?: string;
  errors?: FieldError[];
  [extension: string]: unknown;
}

export interface ProblemOptions {
  /** One sentence that says what happened and what to do next. */
  detail: Message;
  /** HTTP status; default: that of its type. */
  status?: number;
  errors?: FieldError[];
  /** Whether the same thing may succeed when it is tried again unchanged; default false. */
  transient?: boolean;
  cause?: unknown;
  /** Extension members, e.g. `{ suggestions: ["batch_size"] }`. */
  extra?: Record<string, unknown>;
}

let withoutSecrets = (text: string): string => text;

/** Has every problem that is stored or sent from then on go through this: what a server of others says may quote a secret. */
export function hideInProblems(hide: (text: string) => string): void {
  withoutSecrets = hide;
}

/**
 * An error whose text is meant for the user. Everything that the pipeline
 * throws on purpose is one; any other error is a defect and is reported as
 * `internal` without its message leaving the log.
 */
export class Problem extends Error {
  override readonly name = "Problem";
  readonly type: ProblemType;
  readonly status: number;
  readonly errors: FieldError[];
  readonly transient: boolean;
  readonly extra: Record<string, unknown>;

  constructor(type: ProblemType, options: ProblemOptions) {
    super(options.detail, options.cause === undefined ? undefined : { cause: options.cause });
    this.type = type;
    this.status = options.status ?? explanationOf(type)?.status ?? 422;
    this.errors = (options.errors ?? []).slice(0, MAX_ERRORS);
    this.transient = options.transient ?? false;
    this.extra = options.extra ?? {};
  }

  /** The wire and storage form; `type` is a relative URI below /api/problems/. */
  toJSON(): ProblemDetails {
    return {
      type: `/api/problems/${this.type}`,
      title: titleOf(this.type),
      status: this.status,
      detail: withoutSecrets(this.message),
      ...(this.errors.length > 0
        ? {
          errors: this.errors.map((error) => ({
            ...error,
            message: withoutSecrets(error.message),
          })),
        }
        : {}),
      ...this.extra,
    };
  }

  /** Rebuilds a problem from its JSON form, e.g. on the other side of a worker message. */
  static fromJSON(details: ProblemDetails, transient = false): Problem {
    const { type, title: _title, status, detail, errors, instance: _instance, ...extra } = details;
    return new Problem(type.replace(/^.*\/api\/problems\//, "") as ProblemType, {
      detail: verbatim(detail),
      status,
      transient,
      extra,
      ...(errors ? { errors } : {}),
    });
  }
}

/**
 * A problem that is shown in a terminal only, at a start or by a command, which speak English. Everywhere else the
 * compiler refuses a text that the catalogue does not have in either language.
 */
export const TerminalProblem = Problem as unknown as new (
  type: ProblemType,
  options: Omit<ProblemOptions, "detail"> & { detail: string },
) => Problem;

/** None for a type that another version has stored. */
const explanationOf = (type: ProblemType): ProblemExplanation | undefined => PROBLEM_TYPES[type];

export function titleOf(type: ProblemType): string {
  return explanationOf(type)?.title ??
    type.replaceAll("-", " ").replace(/^./, (c) => c.toUpperCase());
}
