import { mount } from "../lib/mount.tsx";
import { RunReport } from "../resources/run_report.tsx";

await mount("report", RunReport);
