import { mount } from "../lib/mount.tsx";
import { RunView } from "../run/run_view.tsx";

await mount("run", RunView);
