import { type Message, say } from "../../../vocabulary/messages.ts";
import { MAX_NUMBER_DIGITS, MAX_ZEROS, setDigits } from "../../numbers.ts";
import type { SourceRecord } from "../source.ts";

/** A cell that is not what its column is declared to be: its record goes to the quarantine. */
export class CellFault extends Error {
  constructor(readonly rule: string, readonly field: string, override readonly message: Message) {
    super(message);
  }
}

const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?$/;
/** A double prints any decimal of so many significant digits as it was written, but for zeros at its end. */
const EXACT_DIGITS = 15;
const DIGIT_0 = 48;
const DIGIT_9 = 57;
const MINUS = 45;

/**
 * Puts the value of an undeclared cell into a record: null for an empty cell, a boolean for `true` and `false`, a
 * number for a JSON number without exponent, whose digits are kept; all else is text. It depends on the cell alone.
 *
 * @throws {CellFault} for a number of too many digits.
 */
export function setCell(record: SourceRecord, name: string, text: string): void {
  const first = text.charCodeAt(0);
  if ((first <= DIGIT_9 && (first >= DIGIT_0 || first === MINUS)) && NUMBER.test(text)) {
    setNumber(record, name, text);
  } else if (text === "") record[name] = null;
  else if (text === "true") record[name] = true;
  else if (text === "false") record[name] = false;
  else record[name] = text;
}

/**
 * Puts a JSON number into a record, whose digits are kept: a bigint for an integer beyond 2^53, else a double.
 *
 * @throws {CellFault} for too many digits.
 */
export function setNumber(record: SourceRecord, name: string, text: string): void {
  if (text.length > MAX_NUMBER_DIGITS) {
    throw new CellFault(
      "number_digits",
      name,
      say("number-digits", { n: text.length, field: name, limit: MAX_NUMBER_DIGITS }),
    );
  }
  const value = Number(text);
  const whole = !/[.eE]/.test(text);
  if (whole && !Number.isSafeInteger(value)) {
    record[name] = BigInt(text);
    // as a key it would be written with an exponent
    if (text.length > MAX_ZEROS) setDigits(record, name, text);
    return;
  }
  record[name] = value;
  const plain = text.length <= EXACT_DIGITS &&
    (whole ? value !== 0 : text.charCodeAt(text.length - 1) !== DIGIT_0 && Math.abs(value) >= 1e-6);
  if (!plain && `${value}` !== text) setDigits(record, name, text);
}
