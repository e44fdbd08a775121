/** What the types of TypeScript do not have yet of ES2025. */
interface ExactJson {
  parse(
    text: string,
    reviver: (name: string, value: unknown, context?: { source?: string }) => unknown,
  ): unknown;
  rawJSON?(text: string): unknown;
}

const JSON_OF_DIGITS = JSON as unknown as ExactJson;

/**
 * What a JSON text says. A number that would be written with other digits than it was read with (1.10, 2^53 + 1) is an
 * object that JSON.stringify writes as it was read. Throws a SyntaxError.
 */
export function parseExact(text: string): unknown {
  const { rawJSON } = JSON_OF_DIGITS;
  return JSON_OF_DIGITS.parse(text, (_name, value, context) => {
    if (typeof value !== "number" || context?.source === undefined || rawJSON === undefined) {
      return value;
    }
    return String(value) === context.source ? value : rawJSON.call(JSON, context.source);
  });
}
