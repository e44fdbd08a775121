import { type Message, say } from "../../../vocabulary/messages.ts";

/** What makes a document unusable, as it is said of a file. */
export class DocumentError extends Error {
  override readonly name = "DocumentError";
  constructor(readonly saidOf: (file: string) => Message) {
    super(saidOf("the document"));
  }
}

interface Frame {
  array: boolean;
  /** Names from the root to here; undefined inside arrays, whose insides are not looked at. */
  path: string[] | undefined;
  key: string | undefined;
  /** In an object: the next string is a name. */
  atName: boolean;
}

/** A structural byte of JSON, as its character; a string or another value. */
export type TokenKind = "{" | "}" | "[" | "]" | "," | ":" | "string" | "value";

const MAX_SUGGESTIONS = 5;
const MAX_SUGGESTED_NAMES = 2;
/** Levels around the array, and inside a document that is one record. */
const MAX_DEPTH = 1_000;
const MAX_RECORD_DEPTH = 1_000_000;

export interface FinderOptions {
  /** Names from the root to the array; none for the document itself. */
  path: string[];
  /** Bytes above which a document that is one object must have been meant otherwise. */
  maxObjectBytes: number;
  onElement(start: number, end: number): void;
}

/**
 * Follows the tokens of a JSON document and says where its records are: the
 * elements of each array at `path`, or, without a path, the objects that the
 * document consists of. It only looks at the structure; what a record holds is
 * for who reads it.
 */
export class JsonArrayFinder {
  readonly #options: FinderOptions;
  #frames: Frame[] = [];
  #arrays: string[] = [];
  #found = false;
  #ended = false;
  /** Depth below the array, while inside it; -1 outside. */
  #depth = -1;
  /** Inside an object that is a record by itself. */
  #whole = false;
  #elementStart = 0;
  #elementTokens = 0;
  #elements = 0;
  /** Values at the path that are no array. */
  #elsewise = 0;
  /** Arrays of objects inside of objects that are records. */
  readonly objectArrays = new Set<string>();

  constructor(options: FinderOptions) {
    this.#options = options;
  }

  /** Whether the insides of an element are passed, whose tokens need no value. */
  get inside(): boolean {
    return this.#depth >= 0;
  }

  /** Whether values must be valid here: what is no record is checked by nobody else. */
  get strict(): boolean {
    return !this.inside && !this.#whole;
  }

  /** Where the element that is being read starts, while one is. */
  get openElement(): number | undefined {
    return this.#depth >= 0 || this.#whole ? this.#elementStart : undefined;
  }

  token(kind: TokenKind, value: string, offset: number): void {
    if (this.#depth >= 0) this.#insideArray(kind, offset);
    else this.#outside(kind, value, offset);
  }

  /** Checks that the document is complete and had the array. */
  end(): void {
    if (!this.#ended) {
      throw new DocumentError((file) => say("json-incomplete", { file }));
    }
    if (!this.#found) throw this.#notFound();
  }

  #notFound(): DocumentError {
    const paths = this.#arrays.map((path) => `"${path}"`).join(", ");
    const hint = paths === "" ? say("json-no-array", {}) : say("json-its-arrays", { paths });
    const { path } = this.#options;
    return new DocumentError((file) =>
      path.length === 0
        ? say("json-neither", { file, hint })
        : say("json-none-there", { file, path: joinPath(path), hint })
    );
  }

  #insideArray(kind: TokenKind, offset: number): void {
    if (kind === "{" || kind === "[") {
      this.#depth++;
    } else if (kind === "}" || kind === "]") {
      this.#depth--;
      if (this.#depth < 0) {
        if (kind !== "]") throw unexpected("}", offset);
        // An empty array has no element; after a comma there must be one.
        if (this.#elementTokens > 0 || this.#elements > 0) this.#endElement(offset);
        this.#closed();
        return;
      }
    } else if (kind === "," && this.#depth === 0) {
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
    this.#options.onElement(this.#elementStart, offset);
  }

  #outside(kind: TokenKind, value: string, offset: number): void {
    if (this.#ended) {
      // objects may follow one another, each a record
      if (kind !== "{" || !this.#found || this.#options.path.length > 0 || this.#elements > 0) {
        throw new DocumentError((file) => say("json-more", { file, at: offset }));
      }
      this.#ended = false;
    }
    const frame = this.#frames.at(-1);
    if (kind === "}" || kind === "]") {
      if (frame === undefined || frame.array !== (kind === "]")) throw unexpected(kind, offset);
      this.#frames.pop();
      if (this.#frames.length === 0 && this.#whole) {
        this.#whole = false;
        this.#options.onElement(this.#elementStart, offset + 1);
      }
      this.#closed();
    } else if (kind === ",") {
      if (frame === undefined) throw unexpected(",", offset);
      frame.atName = !frame.array;
    } else if (kind === ":") {
      if (frame === undefined || frame.array) throw unexpected(":", offset);
    } else if (frame?.atName) {
      if (kind !== "string") throw unexpected(value || kind, offset);
      frame.key = value;
      frame.atName = false;
    } else {
      this.#value(kind, frame, offset);
    }
    if (this.#whole && offset - this.#elementStart > this.#options.maxObjectBytes) {
      if (this.objectArrays.size > 0) throw this.#tooLarge();
    }
  }

  #tooLarge(): DocumentError {
    const paths = [...this.objectArrays].map((path) => `"${path}"`).join(", ");
    return new DocumentError((file) =>
      say("json-large-object", { file, n: this.#options.maxObjectBytes, paths })
    );
  }

  #value(kind: TokenKind, frame: Frame | undefined, offset: number): void {
    const { path: wantedPath } = this.#options;
    const path = this.#pathOf(frame);
    const array = kind === "[";
    const wanted = path !== undefined && path.length === wantedPath.length &&
      path.every((name, i) => name === wantedPath[i]);
    if (array && wanted) {
      this.#found = true;
      this.#refuseMixed();
      this.#depth = 0;
      this.#elements = 0;
      this.#elementTokens = 0;
      this.#elementStart = offset + 1;
      return;
    }
    if (wanted && wantedPath.length > 0) {
      this.#elsewise++;
      this.#refuseMixed();
    }
    if (array && path !== undefined && path.length > 0 && this.#arrays.length < MAX_SUGGESTIONS) {
      this.#arrays.push(joinPath(path));
    }
    if (kind === "{" && wantedPath.length === 0) {
      if (frame === undefined) {
        this.#found = true;
        this.#whole = true;
        this.#elementStart = offset;
      } else if (frame.array && frame.path?.length && this.objectArrays.size < MAX_SUGGESTIONS) {
        this.objectArrays.add(joinPath(frame.path));
      }
    }
    if (array || kind === "{") {
      if (this.#frames.length >= (this.#whole ? MAX_RECORD_DEPTH : MAX_DEPTH)) {
        throw new DocumentError((file) => say("json-deep", { file, n: MAX_DEPTH, at: offset }));
      }
      this.#frames.push({ array, path, key: undefined, atName: !array });
    } else if (frame === undefined) this.#ended = true;
  }

  /** The names of the path occur more than once: what is no array there holds records, or says that there are none. */
  #refuseMixed(): void {
    if (!this.#found || this.#elsewise === 0) return;
    throw new DocumentError((file) =>
      say("json-path-twice", { file, path: joinPath(this.#options.path) })
    );
  }

  #pathOf(frame: Frame | undefined): string[] | undefined {
    if (frame === undefined) return [];
    if (frame.array || frame.path === undefined) return undefined;
    if (frame.path.length >= Math.max(this.#options.path.length, MAX_SUGGESTED_NAMES)) {
      return undefined;
    }
    return [...frame.path, frame.key!];
  }

  #closed(): void {
    if (this.#frames.length === 0) this.#ended = true;
  }
}

function unexpected(what: string, offset: number): DocumentError {
  return new DocumentError((file) => say("json-unexpected", { file, what, at: offset }));
}

/** The dotted path of some names, as records_path takes it. */
function joinPath(names: string[]): string {
  return names.map((name) => name.replaceAll(".", "\\.")).join(".");
}
