import { mount } from "../lib/mount.tsx";
import { ScheduleList } from "../schedules/schedule_list.tsx";

await mount("schedules", ScheduleList);
