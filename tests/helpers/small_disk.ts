import assert from "node:assert/strict";
import { waitFor } from "./wait_for.ts";
import { isThere } from "./needs.ts";

async function command(program: string, ...args: string[]): Promise<boolean> {
  try {
    const { success } = await new Deno.Command(program, { args, stdout: "null", stderr: "null" })
      .output();
    return success;
  } catch {
    return false;
  }
}

const REMEDY = "run as root, where file systems may be mounted, for the tests on a full disk";

/** Whether this process may mount a file system. */
export async function canMount(): Promise<boolean> {
  if (Deno.uid() !== 0) return isThere(false, REMEDY);
  const dir = await Deno.makeTempDir({ prefix: "etl_mount_" });
  const mounted = await command("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", dir);
  if (mounted) await command("umount", dir);
  await Deno.remove(dir);
  return isThere(mounted, REMEDY);
}

/** A disk of a size such as `192m`, unmounted at the end of the scope. */
export async function smallDisk(size: string): Promise<{ path: string } & AsyncDisposable> {
  const path = await Deno.makeTempDir({ prefix: "etl_disk_" });
  assert.ok(await command("mount", "-t", "tmpfs", "-o", `size=${size}`, "tmpfs", path));
  return {
    path,
    async [Symbol.asyncDispose]() {
      await waitFor(() => command("umount", path), { what: "the disk to be free" });
      await Deno.remove(path);
    },
  };
}
