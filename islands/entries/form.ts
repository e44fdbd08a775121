import { RunForm } from "../form/run_form.tsx";
import { mount } from "../lib/mount.tsx";

await mount("form", RunForm);
