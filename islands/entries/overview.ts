import { mount } from "../lib/mount.tsx";
import { Overview } from "../overview/overview.tsx";

await mount("overview", Overview);
