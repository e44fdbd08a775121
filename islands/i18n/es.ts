import type { Messages } from "./en.ts";
import { access } from "./es/access.ts";
import { common } from "./es/common.ts";
import { form } from "./es/form.ts";
import { history } from "./es/history.ts";
import { overview } from "./es/overview.ts";
import { params } from "./es/params.ts";
import { reactions } from "./es/reactions.ts";
import { resources } from "./es/resources.ts";
import { run } from "./es/run.ts";
import { schedules } from "./es/schedules.ts";

/** Every text of the dashboard in Spanish. */
export const es: Messages = {
  ...common,
  ...access,
  ...overview,
  ...history,
  ...run,
  ...form,
  ...resources,
  ...reactions,
  ...schedules,
  ...params,
};
