import { access } from "./en/access.ts";
import { common } from "./en/common.ts";
import { form } from "./en/form.ts";
import { history } from "./en/history.ts";
import { overview } from "./en/overview.ts";
import { reactions } from "./en/reactions.ts";
import { resources } from "./en/resources.ts";
import { run } from "./en/run.ts";
import { schedules } from "./en/schedules.ts";

/** Every text of the dashboard in English, the language that defines what there is. */
export const en = {
  ...common,
  ...access,
  ...overview,
  ...history,
  ...run,
  ...form,
  ...resources,
  ...reactions,
  ...schedules,
};

export type MessageKey = keyof typeof en;
export type Messages = Record<MessageKey, string>;
