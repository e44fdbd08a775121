import type { FieldError, Problem } from "../../vocabulary/problem.ts";
import { printable } from "./printable.ts";

/**
 * A problem for people: what happened, then each field that is wrong on its
 * own line with the value that was given and what would be right.
 */
export function problemText(problem: Problem): string {
  const { errors } = problem;
  // the detail lists the errors again after a colon; below they are easier to read
  const detail = errors.length > 0 ? problem.message.replace(listed(errors), ".") : problem.message;
  return [
    printable(detail, { lines: true }),
    ...errors.map((error) => `  ${fieldErrorText(error)}`),
  ].join("\n");
}

function listed(errors: FieldError[]): string {
  return `: ${errors.map(({ field, message }) => `${field} ${message}`).join("; ")}`;
}

function fieldErrorText({ field, value, message, expected }: FieldError): string {
  const given = value === undefined ? "" : ` (${cropped(JSON.stringify(value), 80)})`;
  const right = expected === undefined || message.includes(expected)
    ? ""
    : `; expected: ${expected}`;
  return printable(`${field}${given} ${message}${right}`);
}

function cropped(text: string, length: number): string {
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}
