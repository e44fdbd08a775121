import type { Consumer } from "./consumer.ts";
import { downstreamExample } from "./downstream_example.ts";

/** What starts on dataset events. Add yours here; docs/consumers.md shows how. */
export const registeredConsumers: readonly Consumer[] = [
  downstreamExample,
];
