import type { Consumer } from "./consumer.ts";
import { downstreamExample } from "./downstream_example.ts";

/** What starts on dataset events by itself, in the server's own thread. Yours go to ETL_CONSUMERS_DIR; docs/consumers.md shows how. */
export const registeredConsumers: readonly Consumer[] = [
  downstreamExample,
];
