import type { Context } from "hono";
import { bodyLimit } from "hono/body-limit";
import { Problem } from "../../pipeline/problem.ts";
import { mediaType } from "../shared/media_type.ts";

/** Nobody needs to be known to send some forms, so they must be small. */
export const formLimit = bodyLimit({
  maxSize: 16 << 10,
  onError: () => {
    throw new Problem("payload-too-large", { status: 413, detail: "The form is too large." });
  },
});

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
