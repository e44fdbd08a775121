import assert from "node:assert/strict";
import { ADAPTERS } from "../../pipeline/sources/adapters.ts";
import { sourceSchema } from "../../pipeline/sources/schema.ts";

const root = new URL("../../", import.meta.url);

Deno.test("each kind of source has a schema, an adapter and a section of the documentation", async () => {
  const types = sourceSchema.options.map(({ shape }) => shape.type.value).sort();
  assert.deepEqual(Object.keys(ADAPTERS).sort(), types);
  const docs = await Deno.readTextFile(new URL("docs/configuration.md", root));
  for (const type of types) {
    assert.ok(
      docs.includes(`### \`"type": "${type}"\``),
      `docs/configuration.md has no section of ${type}`,
    );
  }
});

Deno.test("outside of its sources the pipeline knows no kind of source", async () => {
  const asked: string[] = [];
  for await (const path of modules("pipeline")) {
    if (path.startsWith("pipeline/sources/")) continue;
    const text = await Deno.readTextFile(new URL(path, root));
    if (/type [!=]== "(synthetic|inline|file|http|postgres|s3)"/.test(text)) asked.push(path);
  }
  assert.deepEqual(asked, []);
});

async function* modules(dir: string): AsyncGenerator<string> {
  for await (const { name, isDirectory } of Deno.readDir(new URL(`${dir}/`, root))) {
    if (isDirectory) yield* modules(`${dir}/${name}`);
    else if (name.endsWith(".ts")) yield `${dir}/${name}`;
  }
}
