import { DeliveryError, request } from "./http_post.ts";
import type { LineageEvent } from "./openlineage.ts";
import type { TelemetrySettings } from "./settings_schema.ts";

/** Sends lineage events to a server, or appends them to a file, one a line. */
export class LineageSender {
  readonly #settings: NonNullable<TelemetrySettings["openLineage"]>;

  constructor(settings: NonNullable<TelemetrySettings["openLineage"]>) {
    this.#settings = settings;
  }

  /** Throws a DeliveryError. */
  async send(event: LineageEvent): Promise<void> {
    const { url, apiKey } = this.#settings;
    if (url.startsWith("file:")) return await append(new URL(url), event);
    await request(url, {
      headers: {
        "content-type": "application/json",
        ...(apiKey === null ? {} : { authorization: `Bearer ${apiKey}` }),
      },
      body: JSON.stringify(event),
    });
  }
}

async function append(file: URL, event: LineageEvent): Promise<void> {
  try {
    await Deno.writeTextFile(file, `${JSON.stringify(event)}\n`, { append: true });
  } catch (error) {
    throw new DeliveryError(`the lineage file cannot be written: ${(error as Error).message}`, {
      retryable: true,
    });
  }
}
