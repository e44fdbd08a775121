import { TokenType } from "@streamparser/json";

/** What makes a document unusable, in words. */
export class DocumentError extends Error {
  override readonly name = "DocumentError";
}

interface Frame {
  array: boolean;
  /** Names from the root to here; undefined inside arrays, whose insides are not looked at. */
  path: string[] | undefined;
  key: string | undefined;
  /** In an object: the next string is a name. */
  atName: boolean;
}

const MAX_SUGGESTIONS = 5;
const MAX_SUGGESTED_NAMES = 2;
const MAX_DEPTH = 1_000;

/**
 * Follows the tokens of one JSON document and says where the elements of the
 * array at `path` are. It only looks at the structure; what an element holds
 * is for who reads it.
 */
export class JsonArrayFinder {
  readonly #path: string[];
  readonly #onElement: (start: number, end: number) => void;
  #frames: Frame[] = [];
  #arrays: string[] = [];
  #found = false;
  #ended = false;
  /** Depth below the array, while inside it; -1 outside. */
  #depth = -1;
  #elementStart = 0;
  #elementTokens = 0;
  #elements = 0;

  constructor(path: string[], onElement: (start: number, end: number) => void) {
    this.#path = path;
    this.#onElement = onElement;
  }

  get found(): boolean {
    return this.#found;
  }

  /** Where the element that is being read starts, while one is. */
  get openElement(): number | undefined {
    return this.#depth >= 0 ? this.#elementStart : undefined;
  }

  token(token: TokenType, value: unknown, offset: number): void {
    if (this.#depth >= 0) this.#insideArray(token, offset);
    else this.#outside(token, value, offset);
  }

  /** Checks that the document is complete and had the array. */
  end(): void {
    if (!this.#ended) {
      throw new DocumentError("the document ends too early, the file is incomplete");
    }
    if (!this.#found) throw this.notFound();
  }

  notFound(): DocumentError {
    const arrays = this.#arrays.map((path) => `"${path}"`).join(", ");
    const hint = arrays === ""
      ? "no array was found in it"
      : `set source.records_path to one of its arrays: ${arrays}`;
    return new DocumentError(
      this.#path.length === 0
        ? `the document is an object, not an array of records; ${hint}`
        : `there is no array at "${joinPath(this.#path)}"; ${hint}`,
    );
  }

  #insideArray(token: TokenType, offset: number): void {
    if (token === TokenType.LEFT_BRACE || token === TokenType.LEFT_BRACKET) {
      this.#depth++;
    } else if (token === TokenType.RIGHT_BRACE || token === TokenType.RIGHT_BRACKET) {
      this.#depth--;
      if (this.#depth < 0) {
        if (token !== TokenType.RIGHT_BRACKET) throw unexpected("}", offset);
        // An empty array has no element; after a comma there must be one.
        if (this.#elementTokens > 0 || this.#elements > 0) this.#endElement(offset);
        this.#closed();
        return;
      }
    } else if (token === TokenType.COMMA && this.#depth === 0) {
      this.#endElement(offset);
      this.#elementStart = offset + 1;
      this.#elementTokens = 0;
      return;
    }
    this.#elementTokens++;
  }

  #endElement(offset: number): void {
    if (this.#elementTokens === 0) throw unexpected(",", offset);
    this.#elements++;
    this.#onElement(this.#elementStart, offset);
  }

  #outside(token: TokenType, value: unknown, offset: number): void {
    if (this.#ended) {
      throw new DocumentError(
        `there is more after the end of the document, at byte ${offset}; ` +
          'if each line is a document, set source.format to "ndjson"',
      );
    }
    const frame = this.#frames.at(-1);
    if (token === TokenType.RIGHT_BRACE || token === TokenType.RIGHT_BRACKET) {
      if (frame === undefined || frame.array !== (token === TokenType.RIGHT_BRACKET)) {
        throw unexpected(String(value), offset);
      }
      this.#frames.pop();
      this.#closed();
    } else if (token === TokenType.COMMA) {
      if (frame === undefined) throw unexpected(",", offset);
      frame.atName = !frame.array;
    } else if (token === TokenType.COLON) {
      if (frame === undefined || frame.array) throw unexpected(":", offset);
    } else if (frame?.atName) {
      if (token !== TokenType.STRING) throw unexpected(String(value), offset);
      frame.key = value as string;
      frame.atName = false;
    } else {
      this.#value(token, frame, offset);
    }
  }

  #value(token: TokenType, frame: Frame | undefined, offset: number): void {
    const path = this.#pathOf(frame);
    const array = token === TokenType.LEFT_BRACKET;
    const wanted = !this.#found && path !== undefined && path.length === this.#path.length &&
      path.every((name, i) => name === this.#path[i]);
    if (array && wanted) {
      this.#found = true;
      this.#depth = 0;
      this.#elementStart = offset + 1;
      return;
    }
    if (array && path !== undefined && path.length > 0 && this.#arrays.length < MAX_SUGGESTIONS) {
      this.#arrays.push(joinPath(path));
    }
    if (array || token === TokenType.LEFT_BRACE) {
      if (this.#frames.length >= MAX_DEPTH) {
        throw new DocumentError(`nested more than ${MAX_DEPTH} deep at byte ${offset}`);
      }
      this.#frames.push({ array, path, key: undefined, atName: !array });
    } else if (frame === undefined) this.#ended = true;
  }

  #pathOf(frame: Frame | undefined): string[] | undefined {
    if (frame === undefined) return [];
    if (frame.array || frame.path === undefined) return undefined;
    if (frame.path.length >= Math.max(this.#path.length, MAX_SUGGESTED_NAMES)) return undefined;
    return [...frame.path, frame.key!];
  }

  #closed(): void {
    if (this.#frames.length === 0) this.#ended = true;
  }
}

function unexpected(what: string, offset: number): DocumentError {
  return new DocumentError(`unexpected ${what} at byte ${offset}, the document is not valid JSON`);
}

/** The dotted path of some names, as records_path takes it. */
function joinPath(names: string[]): string {
  return names.map((name) => name.replaceAll(".", "\\.")).join(".");
}
