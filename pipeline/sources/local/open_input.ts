import { type Message, say } from "../../../vocabulary/messages.ts";
import { join, sep } from "node:path";
import { Problem } from "../../../vocabulary/problem.ts";
import { lineAt } from "./line_numbers.ts";
import { FileRanges, type Ranges } from "./ranges.ts";
import type { InputFile, Part } from "./slice_packer.ts";
import { OpenFile } from "./streams.ts";

export interface Roots {
  dataDir: string;
  spoolDir: string;
  /** Opens what is read from where it is. */
  elsewhere?: ((part: Part) => Ranges) | undefined;
}

/** A file of a slice, open and checked; closes with `using`. */
export interface OpenInput extends Ranges, Disposable {
  /** The line, from 1, of a byte; undefined where lines are counted by who reads, as the file is elsewhere. */
  lineAt: ((byte: number) => number) | undefined;
  /** Fails with `source-changed` unless the file is still as it was planned. */
  verify(): Promise<void>;
}

function changed(label: string, how: Message): Problem {
  return new Problem("source-changed", {
    detail: say("file-changed", { path: label, how }),
  });
}

/**
 * Resolves symlinks and refuses what leaves `root`.
 *
 * @throws {Problem} `source-refused`, or `source-unreadable` when there is no such file.
 */
export async function resolveBelow(
  root: string,
  path: string,
): Promise<{ absolutePath: string; info: Deno.FileInfo }> {
  let real: string;
  let realRoot: string;
  try {
    realRoot = await Deno.realPath(root);
    real = await Deno.realPath(join(root, path));
  } catch (error) {
    throw new Problem("source-unreadable", {
      detail: error instanceof Deno.errors.NotFound
        ? say("file-gone", { path })
        : say("file-not-readable", { path }),
      cause: error,
    });
  }
  if (real !== realRoot && !real.startsWith(realRoot.endsWith(sep) ? realRoot : realRoot + sep)) {
    throw new Problem("source-refused", {
      detail: say("file-leads-out", { path }),
    });
  }
  return { absolutePath: real, info: await Deno.stat(real) };
}

/**
 * Opens the file of a part.
 *
 * @throws {Problem} `source-changed` when it is not the file that was planned.
 */
export async function openPart(part: Part, roots: Roots): Promise<OpenInput> {
  if (part.root === "elsewhere") {
    if (roots.elsewhere === undefined) throw new Error("the source cannot read from elsewhere");
    return openedElsewhere(roots.elsewhere(part));
  }
  if (part.root === "spool") {
    const absolutePath = join(roots.spoolDir, part.path);
    try {
      return await openInput({ ...part, root: "spool", absolutePath });
    } catch (error) {
      if (!(error instanceof Problem) || error.type !== "source-unreadable") throw error;
      throw new Problem("source-unreadable", {
        detail: say("unpacked-elsewhere", { path: part.label }),
        transient: true,
        cause: error,
      });
    }
  }
  const { absolutePath } = await resolveBelow(roots.dataDir, part.path);
  const opened = await openHere({ ...part, root: "data", absolutePath });
  try {
    await refuseSwapped(opened.file, part.path, roots.dataDir);
    return opened;
  } catch (error) {
    opened.file[Symbol.dispose]();
    throw error;
  }
}

/** Fails unless the open file is the one that the path leads to, below the root, also after it was opened. */
async function refuseSwapped(file: OpenFile, path: string, root: string): Promise<void> {
  const opened = file.stat();
  const { info } = await resolveBelow(root, path);
  if (opened.ino === info.ino && opened.dev === info.dev) return;
  throw new Problem("source-refused", {
    detail: say("file-replaced", { path }),
  });
}

/** Opens an input file and checks that it is still the one that was found. */
export async function openInput(input: InputFile): Promise<OpenInput> {
  return input.root === "elsewhere" ? openedElsewhere(input.ranges) : await openHere(input);
}

/** Each range of it is asked for under the condition that nothing has changed. */
function openedElsewhere(ranges: Ranges): OpenInput {
  return {
    size: ranges.size,
    reading: (start, end) => ranges.reading(start, end),
    slice: (start, end) => ranges.slice(start, end),
    lineAt: undefined,
    verify: () => Promise.resolve(),
    [Symbol.dispose]: () => {},
  };
}

async function openHere(
  input: Exclude<InputFile, { root: "elsewhere" }>,
): Promise<OpenInput & { file: OpenFile }> {
  let file: OpenFile;
  try {
    file = await OpenFile.open(input.absolutePath);
  } catch (error) {
    if (error instanceof Problem) throw error;
    throw new Problem("source-unreadable", {
      detail: say("file-not-opened", { path: input.label }),
      cause: error,
    });
  }
  const verify = () => {
    const info = file.stat();
    if (info.size !== input.size) {
      throw changed(input.label, say("bytes-then-now", { then: input.size, now: info.size }));
    }
    const mtime = Math.floor(info.mtimeMs);
    if (input.mtime_ms !== 0 && mtime !== input.mtime_ms) {
      throw changed(
        input.label,
        say("modified-then-now", {
          then: new Date(input.mtime_ms).toISOString(),
          now: new Date(mtime).toISOString(),
        }),
      );
    }
  };
  try {
    verify();
  } catch (error) {
    file[Symbol.dispose]();
    throw error;
  }
  const ranges = new FileRanges(file, input.size);
  return {
    file,
    size: input.size,
    reading: (start, end) => ranges.reading(start, end),
    slice: (start, end) => ranges.slice(start, end),
    lineAt: (byte) => lineAt(input, byte),
    // deno-lint-ignore require-await -- what is thrown is a rejection
    verify: async () => verify(),
    [Symbol.dispose]: () => file[Symbol.dispose](),
  };
}
