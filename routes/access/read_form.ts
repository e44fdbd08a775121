import type { Context } from "hono";
import { Problem } from "../../vocabulary/problem.ts";
import { mediaType } from "../shared/media_type.ts";

/** The fields of a form. Throws a Problem where the body is none. */
export async function readForm(c: Context): Promise<FormData> {
  const type = mediaType(c);
  if (!["application/x-www-form-urlencoded", "multipart/form-data"].includes(type)) {
    throw new Problem("unsupported-media-type", {
      status: 415,
      detail: "This takes a form, as the pages of the dashboard send it.",
    });
  }
  try {
    return await c.req.formData();
  } catch (error) {
    // too large, found out while it was read
    if (error instanceof Problem) throw error;
    throw new Problem("bad-request", { status: 400, detail: "The form cannot be read." });
  }
}
