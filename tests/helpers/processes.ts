/** Ids of the processes whose command line has `text`; Linux only. */
export async function processesWith(text: string): Promise<number[]> {
  if (text === "") throw new Error("Every process has the empty text");
  const found: number[] = [];
  for await (const { name } of Deno.readDir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const command = await Deno.readTextFile(`/proc/${name}/cmdline`).catch(() => "");
    if (command.includes(text)) found.push(Number(name));
  }
  return found;
}
