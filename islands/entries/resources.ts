import { mount } from "../lib/mount.tsx";
import { ResourceList } from "../resources/resource_list.tsx";

await mount("resources", ResourceList);
