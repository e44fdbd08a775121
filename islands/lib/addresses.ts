import { options, type VNode } from "preact";
import { at } from "./base.ts";

const ADDRESSES = ["href", "src", "action", "formaction"];
/** Properties as they were written: an element may be rendered several times, under several prefixes. */
const written = new WeakMap<object, Record<string, unknown>>();

/** Puts the prefix into the addresses of every element, so that pages and islands write paths as the server has them. */
const hooks = options as { __b?: (vnode: VNode<Record<string, unknown>>) => void };
const before = hooks.__b;
hooks.__b = (vnode) => {
  if (typeof vnode.type === "string") {
    const props = written.get(vnode) ?? vnode.props;
    const found = ADDRESSES.filter((name) => /^\/(?!\/)/.test(String(props[name] ?? "")));
    if (found.length > 0) {
      written.set(vnode, props);
      vnode.props = {
        ...vnode.props,
        ...props,
        ...Object.fromEntries(found.map((name) => [name, at(String(props[name]))])),
      };
    }
  }
  before?.(vnode);
};
