import type { Messages } from "./en.ts";
import { common } from "./es/common.ts";
import { history } from "./es/history.ts";
import { overview } from "./es/overview.ts";
import { run } from "./es/run.ts";

/** Every text of the dashboard in Spanish. */
export const es: Messages = { ...common, ...overview, ...history, ...run };
