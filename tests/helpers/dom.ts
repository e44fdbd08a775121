/**
 * As much of a browser's document as Preact renders into, so that a test can see an island live: what it does when a control
 * is used, an event comes or a request is answered. What a browser itself does is for tests/browser.
 */
import { type ComponentType, h, render } from "preact";
import { act } from "preact/test-utils";
import { LocaleContext, ViewerContext } from "../../islands/lib/context.tsx";
import { contextsOf, type Look } from "./pages.ts";

type Listener = (event: FakeEvent) => void;

interface FakeEvent {
  type: string;
  target: FakeNode;
  currentTarget: FakeNode;
  defaultPrevented: boolean;
  preventDefault(): void;
  [more: string]: unknown;
}

/** What comes sooner is not worth the test's word. */
const SOON_MS = 100;
const soon = setTimeout;

const escaped = (text: string) =>
  text.replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]!);

const PARTS = /<(\/?)([\w-]+)((?:[^>"]|"[^"]*")*)>|([^<]+)/g;

/** An element, or a text where `localName` is "". */
export class FakeNode {
  readonly nodeType: number;
  readonly namespaceURI = "http://www.w3.org/1999/xhtml";
  readonly style: Record<string, string> = {};
  readonly attributes = new Map<string, string>();
  readonly childNodes: FakeNode[] = [];
  readonly #listeners = new Map<string, Set<Listener>>();
  parentNode: FakeNode | null = null;
  value: unknown = undefined;
  checked: unknown = undefined;
  scrollTop = 0;
  /** Every box is as large. */
  readonly clientWidth = 180;
  readonly clientHeight = 180;
  scrollHeight = 0;
  focused = 0;

  constructor(readonly localName: string, public data = "") {
    this.nodeType = localName === "" ? 3 : 1;
  }

  get ownerDocument() {
    return document;
  }
  get firstChild() {
    return this.childNodes[0] ?? null;
  }
  get nextSibling() {
    const siblings = this.parentNode?.childNodes ?? [];
    return siblings[siblings.indexOf(this) + 1] ?? null;
  }
  get dataset() {
    const name = (key: string) => `data-${key.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`;
    return new Proxy({} as Record<string, string | undefined>, {
      get: (_, key) => this.attributes.get(name(String(key))),
      set: (_, key, value) => (this.setAttribute(name(String(key)), value), true),
    });
  }

  insertBefore(node: FakeNode, before: FakeNode | null) {
    node.remove();
    const at = before === null ? -1 : this.childNodes.indexOf(before);
    this.childNodes.splice(at < 0 ? this.childNodes.length : at, 0, node);
    node.parentNode = this;
    return node;
  }
  appendChild(node: FakeNode) {
    return this.insertBefore(node, null);
  }
  removeChild(node: FakeNode) {
    const at = this.childNodes.indexOf(node);
    if (at >= 0) this.childNodes.splice(at, 1);
    node.parentNode = null;
    return node;
  }
  remove() {
    this.parentNode?.removeChild(this);
  }
  append(...nodes: (FakeNode | string)[]) {
    for (const each of nodes) {
      this.appendChild(typeof each === "string" ? new FakeNode("", each) : each);
    }
  }
  replaceChildren(...nodes: (FakeNode | string)[]) {
    for (const each of [...this.childNodes]) each.remove();
    this.append(...nodes);
  }
  replaceWith(node: FakeNode) {
    this.parentNode!.insertBefore(node, this);
    this.remove();
  }
  contains(node: FakeNode | null): boolean {
    return node !== null && (node === this || this.contains(node.parentNode));
  }
  isEqualNode(other: FakeNode): boolean {
    return this.html === other.html;
  }
  getElementById(id: string): FakeNode | null {
    return this.querySelector(`#${id}`);
  }
  setAttribute(name: string, value: unknown) {
    this.attributes.set(name, String(value));
  }
  getAttribute(name: string) {
    return this.attributes.get(name) ?? null;
  }
  removeAttribute(name: string) {
    this.attributes.delete(name);
  }
  addEventListener(type: string, listener: Listener) {
    const all = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, all.add(listener));
  }
  removeEventListener(type: string, listener: Listener) {
    this.#listeners.get(type)?.delete(listener);
  }
  heard(event: FakeEvent) {
    event.currentTarget = this;
    for (const each of this.#listeners.get(event.type) ?? []) each.call(this, event);
  }
  focus() {
    this.focused++;
  }
  showModal() {
    this.setAttribute("open", "");
  }

  get id() {
    return this.getAttribute("id") ?? "";
  }
  get href() {
    return this.getAttribute("href") ?? "";
  }
  set href(href: string) {
    this.setAttribute("href", href);
  }
  get dateTime() {
    return this.getAttribute("datetime") ?? "";
  }
  get open() {
    return this.attributes.has("open");
  }
  set open(open: boolean) {
    if (open) this.setAttribute("open", "");
    else this.removeAttribute("open");
  }
  set className(name: string) {
    this.setAttribute("class", name);
  }
  get hidden() {
    return this.attributes.has("hidden");
  }
  set hidden(hidden: boolean) {
    if (hidden) this.setAttribute("hidden", "");
    else this.removeAttribute("hidden");
  }
  get classList() {
    return {
      add: (name: string) =>
        this.setAttribute("class", `${this.getAttribute("class") ?? ""} ${name}`),
    };
  }
  /** Whether somebody sees it: what is in a closed part nobody does. */
  checkVisibility(): boolean {
    const { parentNode, localName } = this;
    return !this.attributes.has("hidden") &&
      (localName === "summary" || parentNode?.localName !== "details" || parentNode.open) &&
      (parentNode?.checkVisibility() ?? true);
  }

  /** All inside that fit, itself among them. */
  all(fits: (node: FakeNode) => boolean): FakeNode[] {
    return [...(fits(this) ? [this] : []), ...this.childNodes.flatMap((each) => each.all(fits))];
  }
  querySelectorAll(selector: string): FakeNode[] {
    return this.all((node) => node !== this && node.matches(selector));
  }
  querySelector(selector: string): FakeNode | null {
    return this.querySelectorAll(selector)[0] ?? null;
  }
  closest(selector: string): FakeNode | null {
    return this.matches(selector) ? this : this.parentNode?.closest(selector) ?? null;
  }
  /** `selector`: tags, classes, ids and attributes, inside of others, several with commas. */
  matches(selector: string): boolean {
    return this.nodeType === 1 && selector.split(", ").some((one) => {
      const [last, ...above] = one.split(/ (?![^[]*\])/).reverse();
      return this.#fits(last!) &&
        (above.length === 0 || this.parentNode?.closest(above.reverse().join(" ")) != null);
    });
  }
  #fits(simple: string): boolean {
    const parts = simple.match(/:not\([^)]*\)|\[[^\]]*\]|[.#]?[\w-]+/g)!;
    return parts.every((part) => {
      if (part.startsWith(":not(")) return !this.#fits(part.slice(5, -1));
      const [, name, value] = /^\[([\w-]+)(?:="(.*)")?\]$/.exec(part) ?? [];
      if (name !== undefined) {
        return value === undefined
          ? this.attributes.has(name)
          : this.attributes.get(name) === value;
      }
      if (part.startsWith(".")) {
        return (this.getAttribute("class") ?? "").split(" ").includes(part.slice(1));
      }
      return part.startsWith("#") ? this.id === part.slice(1) : this.localName === part;
    });
  }

  /** Puts what the HTML says in place of what it holds; every element has an end. */
  set innerHTML(html: string) {
    for (const each of [...this.childNodes]) each.remove();
    const open: FakeNode[] = [this];
    for (const [, end, name, attributes, text] of html.matchAll(PARTS)) {
      const inside = open.at(-1)!;
      if (text !== undefined) inside.appendChild(new FakeNode("", text));
      else if (end === "/") open.pop();
      else {
        const node = inside.appendChild(new FakeNode(name!));
        open.push(node);
        for (const [, key, value] of attributes!.matchAll(/([\w-]+)(?:="([^"]*)")?/g)) {
          node.setAttribute(key!, value ?? "");
        }
      }
    }
  }

  get textContent(): string {
    return this.nodeType === 3 ? this.data : this.childNodes.map((n) => n.textContent).join("");
  }
  set textContent(text: string) {
    for (const each of [...this.childNodes]) each.remove();
    if (text !== "") this.appendChild(new FakeNode("", text));
  }
  get html(): string {
    if (this.nodeType === 3) return escaped(this.data);
    const attributes = [...this.attributes].map(([name, value]) => ` ${name}="${escaped(value)}"`);
    const inside = this.childNodes.map((each) => each.html).join("");
    return `<${this.localName}${attributes.join("")}>${inside}</${this.localName}>`;
  }
}

/** A stream of events that the test speaks for. */
export class FakeEventSource {
  static readonly CLOSED = 2;
  static opened: FakeEventSource[] = [];
  readonly #listeners = new Map<string, (event: { data: string }) => void>();
  readyState = 0;
  onopen?: () => void;
  onerror?: () => void;

  constructor(readonly url: string) {
    FakeEventSource.opened.push(this);
  }
  addEventListener(type: string, listener: (event: { data: string }) => void) {
    this.#listeners.set(type, listener);
  }
  close() {
    this.readyState = FakeEventSource.CLOSED;
  }
  tell(type: string, data: unknown) {
    this.#listeners.get(type)?.({ data: JSON.stringify(data) });
  }
}

export interface Life extends Look {
  /** What the server answers to a request, with its method before its path; default: 404. */
  answers?: Record<string, unknown>;
  /** Whether nobody sees the page at first; default: false. */
  hidden?: boolean;
}

/** An island that lives until it is disposed of; globals of a browser are there meanwhile. */
export class Living implements Disposable {
  readonly root = new FakeNode("main");
  /** Requests, each as "GET /path", in their order. */
  readonly asked: string[] = [];
  /** Bodies of requests, as they were sent. */
  readonly sent: unknown[] = [];
  /** What is to happen after a while: the test says when. */
  readonly #later: (() => void)[] = [];
  readonly answers: Record<string, unknown>;
  /** Addresses that the page went to, "reload" among them. */
  readonly went: string[] = [];
  readonly document = Object.assign(new FakeNode("document"), {
    title: "",
    cookie: "",
    activeElement: null as FakeNode | null,
    adoptNode: (node: FakeNode) => node,
    documentElement: Object.assign(new FakeNode("html"), { lang: "en" }),
    createElementNS: (_: string, name: string) => new FakeNode(name),
    createElement: (name: string) => new FakeNode(name),
    createTextNode: (text: string) => new FakeNode("", text),
  });
  readonly #before = new Map<string, PropertyDescriptor | undefined>();

  private constructor(answers: Record<string, unknown>) {
    this.answers = answers;
    FakeEventSource.opened = [];
    this.document.appendChild(this.document.documentElement).appendChild(this.root);
    const events = new EventTarget();
    const media = new EventTarget();
    this.#put({
      addEventListener: events.addEventListener.bind(events),
      removeEventListener: events.removeEventListener.bind(events),
      dispatchEvent: events.dispatchEvent.bind(events),
      matchMedia: () => media,
      DOMParser: class {
        parseFromString(html: string) {
          const page = new FakeNode("html");
          page.innerHTML = html;
          return page;
        }
      },
      CSS: { escape: (text: string) => text },
      location: {
        href: "http://here/etl",
        assign: (url: string) => this.went.push(url),
        reload: () => this.went.push("reload"),
      },
      document: this.document,
      EventSource: FakeEventSource,
      setTimeout: (run: () => void, ms = 0) => ms < SOON_MS ? soon(run, ms) : this.#later.push(run),
      setInterval: () => 0,
      ResizeObserver: class {
        observe() {}
        disconnect() {}
      },
      fetch: (url: string, options: RequestInit = {}) => {
        const request = `${options.method ?? "GET"} ${url}`;
        this.asked.push(request);
        if (options.body !== undefined) this.sent.push(JSON.parse(String(options.body)));
        const known = this.answers[request];
        const answer = typeof known === "function" ? known() : known;
        return Promise.resolve(answer).then((body) =>
          body instanceof Response
            ? body
            : Response.json(body ?? { detail: `no ${request}` }, { status: body ? 200 : 404 })
        );
      },
    });
  }

  static async of<P extends object>(
    component: ComponentType<P>,
    props: P,
    { answers = {}, hidden = false, ...look }: Life = {},
  ): Promise<Living> {
    const living = new Living(answers);
    living.document.hidden = hidden;
    const { locale, viewer } = contextsOf(look);
    const inside = h(ViewerContext.Provider, { value: viewer, children: h(component, props) });
    await living.do(() =>
      render(h(LocaleContext.Provider, { value: locale, children: inside }), living.root as never)
    );
    return living;
  }

  /** A page of this HTML, without an island. */
  static page(html: string, { answers = {} }: Life = {}): Living {
    const living = new Living(answers);
    living.root.innerHTML = html;
    return living;
  }

  #put(globals: Record<string, unknown>) {
    for (const [name, value] of Object.entries(globals)) {
      this.#before.set(name, Object.getOwnPropertyDescriptor(globalThis, name));
      Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
    }
  }

  /** Does something and has the island render and answers come in, as far as they are there. */
  async do(what: () => unknown): Promise<void> {
    // what effects of the first ask for is answered in the second
    for (const each of [what, () => {}]) {
      await act(async () => {
        await each();
        await new Promise((done) => setTimeout(done, 0));
      });
    }
  }

  /** Lets the while pass that something waits for. */
  async pass(): Promise<void> {
    await this.do(() => this.#later.splice(0).forEach((run) => run()));
  }

  /** The only element of a tag that has the text, or an attribute with it. */
  one(tag: string, text: string): FakeNode {
    const found = this.root.all((node) =>
      node.localName === tag &&
      (node.textContent.includes(text) || [...node.attributes.values()].includes(text))
    );
    if (found.length !== 1) throw new Error(`${found.length} of ${tag} ${text}: ${this.html}`);
    return found[0]!;
  }

  /** Something that somebody does to an element; bubbles. */
  async on(node: FakeNode, type: string, more: Record<string, unknown> = {}): Promise<FakeEvent> {
    const event: FakeEvent = {
      type,
      target: node,
      currentTarget: node,
      defaultPrevented: false,
      preventDefault() {
        this.defaultPrevented = true;
      },
      ...more,
    };
    await this.do(() => {
      for (let at: FakeNode | null = node; at !== null; at = at.parentNode) at.heard(event);
    });
    return event;
  }

  click(tag: string, text: string): Promise<FakeEvent> {
    return this.on(this.one(tag, text), "click");
  }

  async type(node: FakeNode, value: string): Promise<void> {
    node.value = value;
    await this.on(node, "input");
  }

  get stream(): FakeEventSource | undefined {
    return FakeEventSource.opened.at(-1);
  }

  get html(): string {
    return this.root.html;
  }

  [Symbol.dispose]() {
    // in act(), as what effects leave is cleared away at once then
    void act(() => render(null, this.root as never));
    for (const [name, before] of this.#before) {
      if (before === undefined) delete (globalThis as Record<string, unknown>)[name];
      else Object.defineProperty(globalThis, name, before);
    }
  }
}
