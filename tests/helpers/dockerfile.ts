import { dirname, join } from "node:path";

/** One instruction: `{ name: "RUN", text: "…" }`, continued lines joined. */
export interface Instruction {
  name: string;
  text: string;
}

/** The instructions of a Dockerfile, without comments. */
export function instructionsOf(text: string): Instruction[] {
  return text.split("\n").filter((line) => !/^\s*#/.test(line)).join("\n")
    .replaceAll(/\\\n\s*/g, "").split("\n").filter((line) => line.trim() !== "")
    .map((line) => {
      const [, name = "", rest = ""] = /^(\S+)\s+(.*)$/.exec(line.trim()) ?? [];
      return { name: name.toUpperCase(), text: rest };
    });
}

export interface BuiltImage {
  /** Where the root of the image's files is. */
  root: string;
  /** Its environment, with paths below `root`. */
  env: Record<string, string>;
  workdir: string;
  /** Of USER, as numbers. */
  uid: number;
  gid: number;
  entrypoint: string[];
  healthcheck: string[];
}

export interface BuildOptions {
  dockerfile: string;
  /** Directory that is sent to the builder. */
  context: string;
  /** Files of the context that are not ignored, as top-level paths. */
  included: string[];
  /** An empty directory to build in. */
  dir: string;
  /** More environment for RUN, e.g. PATH. */
  env: Record<string, string>;
}

/** Paths that images use; they are looked for below the root of the stage instead. */
const PATHS = /(?<![\w.])\/(app|data|spool)(?=[/\s"']|$)/g;

/**
 * Does what a builder does with the instructions of a Dockerfile, with directories in place of
 * layers and this machine's programs in place of the base image's. The last stage is the image.
 */
export async function build(options: BuildOptions): Promise<BuiltImage> {
  const stages = new Map<string, BuiltImage>();
  let image: BuiltImage | undefined;
  const instructions = instructionsOf(await Deno.readTextFile(options.dockerfile));
  for (const { name, text } of instructions) {
    if (name === "FROM") {
      const stage = /\sAS\s+(\S+)/i.exec(text)?.[1] ?? "last";
      const root = join(options.dir, stage);
      await Deno.mkdir(root);
      image = {
        root,
        env: {},
        workdir: root,
        uid: 0,
        gid: 0,
        entrypoint: [],
        healthcheck: [],
      };
      stages.set(stage, image);
      continue;
    }
    if (image === undefined) continue; // ARG before the first stage
    const below = (part: string) => part.replaceAll(PATHS, (path) => join(image!.root, path));
    switch (name) {
      case "ENV":
        for (const [, key, value] of text.matchAll(/(\w+)=(\S+)/g)) image.env[key!] = below(value!);
        break;
      case "WORKDIR":
        image.workdir = below(text);
        await Deno.mkdir(image.workdir, { recursive: true });
        break;
      case "COPY":
        await copy(text, { image, stages, options, below });
        break;
      case "RUN":
        await shell(below(text), { ...options.env, ...image.env }, image.workdir);
        break;
      case "USER":
        [image.uid, image.gid] = text.split(":").map(Number) as [number, number];
        break;
      case "ENTRYPOINT":
        image.entrypoint = JSON.parse(text).map(below);
        break;
      case "HEALTHCHECK":
        image.healthcheck = JSON.parse(text.replace(/^.*?CMD\s+/, ""));
        break;
      case "LABEL":
      case "EXPOSE":
      case "VOLUME":
      case "STOPSIGNAL":
      case "ARG":
        break;
      default:
        throw new Error(`${name} is not known here`);
    }
  }
  return image!;
}

async function copy(
  text: string,
  { image, stages, options, below }: {
    image: BuiltImage;
    stages: Map<string, BuiltImage>;
    options: BuildOptions;
    below: (part: string) => string;
  },
): Promise<void> {
  const words = text.split(/\s+/);
  const from = words.find((word) => word.startsWith("--from="))?.slice("--from=".length);
  const paths = words.filter((word) => !word.startsWith("--"));
  const target = paths.pop()!;
  const into = target.startsWith("/") ? below(target) : join(image.workdir, target);
  for (const path of paths) {
    if (from !== undefined) {
      const { root } = stages.get(from)!;
      await shell(`mkdir -p '${into}' && cp -a '${root}${path}/.' '${into}'`, options.env, "/");
      continue;
    }
    const wanted = path === "." ? options.included : [path];
    for (const each of wanted) {
      const to = join(into, each);
      await Deno.mkdir(dirname(to), { recursive: true });
      await shell(`cp -R '${join(options.context, each)}' '${to}'`, options.env, "/");
    }
  }
}

async function shell(command: string, env: Record<string, string>, cwd: string): Promise<void> {
  const { success, stdout, stderr } = await new Deno.Command("sh", {
    args: ["-e", "-c", command],
    cwd,
    clearEnv: true,
    env,
    stdin: "null",
  }).output();
  if (success) return;
  const said = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes)).join("");
  throw new Error(`${command}:\n${said.slice(-3000)}`);
}
