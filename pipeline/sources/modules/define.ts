import { z } from "zod";
import type { Json, SourceRecord } from "../../numbers.ts";

/*
 * What a source module imports. It is the whole interface between a module and the
 * program: docs/sources.md is its tutorial, and the modules beside this file use nothing else.
 */

export { z };
export type { Json, SourceRecord };

/** JSON that plan makes and read gets. */
export type SliceValue = Json;

export interface FetchOptions {
  /** GET (default), HEAD or POST. Whatever it is, it is repeated: a source only reads. */
  method?: "GET" | "HEAD" | "POST";
  headers?: Record<string, string>;
  /** Text as it is, URLSearchParams as a form, anything else as JSON. */
  body?: string | URLSearchParams | Json;
  /**
   * Which of the source's connections the URL belongs to; it may be relative then. Default: the
   * connection that has the URL's server; of a relative URL the only one.
   */
  connection?: string;
}

/** What plan and read are given. */
export interface SourceContext<C> {
  config: C;
  /** Where the last successful run has got to: the position that it left; null: read everything. */
  since: string | null;
  /**
   * Asks a server that `hosts` or a connection names. Waits as 429 and Retry-After say, and tries resets and
   * 5xx again; what is answered then is the caller's. Credentials of a connection are added on the way.
   */
  fetch(url: string | URL, options?: FetchOptions): Promise<Response>;
  /** The same, with the answer read by {@linkcode SourceContext.readJson}. */
  fetchJson(url: string | URL, options?: FetchOptions): Promise<{ data: Json; response: Response }>;
  /** An answer as JSON in which every number keeps its digits; anything but 2xx is an error. */
  readJson(response: Response): Promise<Json>;
  log(message: string): void;
  /** Names of the connections that the conf gives to the source. */
  connections: readonly string[];
  /** Records that a page should have (db_page_size). */
  pageSize: number;
  /** Only in modules that are part of the program. */
  trusted?: {
    /** The text of a connection. */
    connection(name: string): string;
    /** ETL_DATA_DIR. */
    dataDir: string;
    signal: AbortSignal;
    /** `source.key`. */
    key: string | string[] | undefined;
    /** Whether the run takes what it does not find for gone. */
    whole: boolean;
  };
}

export interface Planned {
  slices: SliceValue[];
  /** Position up to which these slices read, for the next run; instead of `cursor`. */
  position?: string | null | undefined;
  /** Only of modules that are part of the program: whether these slices are steady; default: what the module says. */
  steady?: boolean;
}

export interface SourceDefinition<C = unknown, S extends SliceValue = SliceValue> {
  /** Of `source.config`: a zod schema; what it refuses is refused before anything is read. */
  config?: z.ZodType<C>;
  /** Servers that it asks, `name` or `name:port`; those of its connections need not be listed. Default none. */
  hosts?: readonly string[] | ((config: C) => readonly string[]);
  /**
   * Field of the records that grows with every change (a number, or a time or text that sorts): the highest
   * that was read is the next run's `since`. Default: it is not incremental.
   */
  cursor?: string | ((config: C) => string | undefined);
  /** Whether a slice can be read a second time and gives the same; default true. For the run's warnings. */
  repeatable?: boolean;
  /**
   * Whether a reading of everything has each record that is there from its beginning to its end, whatever comes and goes
   * meanwhile: one request, one snapshot, pages by a key that stays. Default false, as of pages by number or offset: then
   * `write: mirror` may mark rows that it does not find, and delete none.
   */
  steady?: boolean | ((config: C) => boolean);
  /** The parts of the input, which are read side by side; asked once a run. Default: one part. */
  plan?(context: SourceContext<C>): Promise<Planned | S[]> | Planned | S[];
  /** Yields the records of a slice, one by one or in lists. */
  read(
    slice: S,
    context: SourceContext<C>,
  ): AsyncIterable<object | object[]> | Iterable<object | object[]>;
}

/** Gives a definition its types: `export default defineSource({ … })`. */
export function defineSource<C = Record<string, never>, S extends SliceValue = SliceValue>(
  definition: SourceDefinition<C, S>,
): SourceDefinition<C, S> {
  return definition;
}
