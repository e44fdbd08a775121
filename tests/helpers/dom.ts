/**
 * An island, or the script of a page, alive in the document of happy-dom: what it does when a control is used, an event
 * comes or a request is answered. What a browser itself does (layout, focus by Tab, painting) is for tests/browser.
 */
import { type Element, Event, HTMLElement, type HTMLInputElement, Window } from "happy-dom";
import { type ComponentType, h, render } from "preact";
import { act } from "preact/test-utils";
import { LocaleContext, ViewerContext } from "../../islands/lib/context.tsx";
import { parseExact } from "../../vocabulary/exact_json.ts";
import { contextsOf, type Look } from "./pages.ts";

/** An element as tests look at it, whatever its tag. */
export type Live = HTMLInputElement & { open: boolean; href: string };

/** What comes sooner is not worth the test's word. */
const SOON_MS = 100;
const soon = setTimeout;
const forget = clearTimeout;

/** All inside of an element that fit, itself among them. */
export const all = (inside: Element, fits: (node: Live) => boolean): Live[] =>
  [inside, ...inside.querySelectorAll("*")].filter((node) => fits(node as Live)) as Live[];

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
  /** What follows the address of the page, such as "#draft"; default: nothing. */
  hash?: string;
  /** What the tab has kept of pages before; default: nothing. */
  kept?: Record<string, unknown>;
  /** What else a browser has. */
  globals?: Record<string, unknown>;
}

/** An island that lives until it is disposed of; globals of a browser are there meanwhile. */
export class Living implements Disposable {
  readonly #window = new Window({ url: "http://here/etl" });
  readonly document = this.#window.document;
  readonly root = this.document.body.appendChild(
    this.document.createElement("main"),
  ) as unknown as Live;
  /** Requests, each as "GET /path", in their order. */
  readonly asked: string[] = [];
  /** Bodies of requests, as they were sent. */
  readonly sent: unknown[] = [];
  /** Headers of requests, in their order. */
  readonly heads: Headers[] = [];
  /** Addresses that the page went to, "reload" among them. */
  readonly went: string[] = [];
  /** The cookie that was set last, as it was set. */
  cookie = "";
  /** What is to happen after a while: the test says when. */
  readonly #later = new Map<number, () => void>();
  /** What is to happen again and again: the test says when. */
  readonly #often = new Map<number, () => void>();
  /** Numbers of timers that are no numbers of real ones. */
  #timers = 0;
  readonly #focused = new Map<unknown, number>();
  readonly answers: Record<string, unknown>;
  readonly #before = new Map<string, PropertyDescriptor | undefined>();

  private constructor(answers: Record<string, unknown>) {
    this.answers = answers;
    FakeEventSource.opened = [];
    this.document.documentElement.lang = "en";
    Object.defineProperty(this.document, "cookie", { set: (text) => this.cookie = text });
    this.#measure();
    const media = new this.#window.EventTarget();
    const { DOMParser, CSS, HTMLInputElement, HTMLSelectElement } = this.#window;
    this.#put({
      ...{ document: this.document, DOMParser, CSS, HTMLInputElement, HTMLSelectElement, Event },
      addEventListener: this.#window.addEventListener.bind(this.#window),
      removeEventListener: this.#window.removeEventListener.bind(this.#window),
      dispatchEvent: this.#window.dispatchEvent.bind(this.#window),
      matchMedia: () => media,
      location: {
        ...{ href: "http://here/etl", pathname: "/etl", hash: "" },
        assign: (url: string) => this.went.push(url),
        reload: () => this.went.push("reload"),
      },
      history: {
        replaceState: (_state: unknown, _title: string, url: URL | string) => {
          Object.assign(location, { href: new URL(url, location.href).href });
        },
      },
      EventSource: FakeEventSource,
      setTimeout: (run: () => void, ms = 0) => ms < SOON_MS ? soon(run, ms) : this.#putOff(run),
      clearTimeout: (timer: number) => {
        if (!this.#later.delete(timer)) forget(timer);
      },
      setInterval: (run: () => void) => {
        this.#often.set(--this.#timers, run);
        return this.#timers;
      },
      clearInterval: (timer: number) => void this.#often.delete(timer),
      requestAnimationFrame: (run: () => void) => this.#putOff(run),
      sessionStorage: this.#window.sessionStorage,
      ResizeObserver: class {
        observe() {}
        disconnect() {}
      },
      fetch: (url: string, options: RequestInit = {}) => {
        const request = `${options.method ?? "GET"} ${url}`;
        this.asked.push(request);
        this.heads.push(new Headers(options.headers));
        const { body } = options;
        if (body !== undefined) this.sent.push(typeof body === "string" ? parseExact(body) : body);
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

  /** What a browser would know of boxes: every one is as large, and seen unless it or what is around it is hidden. */
  #measure(): void {
    const focused = this.#focused;
    const { focus } = HTMLElement.prototype;
    const { prototype } = this.#window.HTMLElement;
    const { prototype: select } = this.#window.HTMLSelectElement;
    const { insertBefore } = select;
    // happy-dom would select the second option where the one that is selected comes behind others
    select.insertBefore = function (node, before) {
      const { selected } = node as Live & { selected?: boolean };
      insertBefore.call(this, node, before);
      if (selected) Object.assign(node, { selected });
      return node;
    };
    Object.defineProperties(prototype, {
      clientWidth: { get: () => 180, configurable: true },
      clientHeight: { get: () => 180, configurable: true },
      focus: {
        value(this: HTMLElement) {
          focused.set(this, (focused.get(this) ?? 0) + 1);
          focus.call(this);
        },
        configurable: true,
      },
      checkVisibility: {
        value(this: HTMLElement) {
          const shut = this.closest("details:not([open])");
          return this.closest("[hidden]") === null &&
            (shut === null || this.closest("summary")?.parentNode === shut);
        },
        configurable: true,
      },
    });
  }

  static async of<P extends object>(
    component: ComponentType<P>,
    props: P,
    { answers = {}, hidden = false, hash = "", kept = {}, globals = {}, ...look }: Life = {},
  ): Promise<Living> {
    const living = await Living.#loaded(answers);
    living.hidden = hidden;
    living.#put(globals);
    Object.assign(location, { hash });
    for (const [name, value] of Object.entries(kept)) {
      sessionStorage.setItem(name, JSON.stringify(value));
    }
    const { locale, viewer } = contextsOf(look);
    const inside = h(ViewerContext.Provider, { value: viewer, children: h(component, props) });
    await living.do(() =>
      render(h(LocaleContext.Provider, { value: locale, children: inside }), living.root as never)
    );
    return living;
  }

  /** One whose window has done what a new one does, a timer among it. */
  static async #loaded(answers: Record<string, unknown>): Promise<Living> {
    const living = new Living(answers);
    await living.#window.happyDOM.waitUntilComplete();
    return living;
  }

  /** A page of this HTML, without an island. */
  static async page(html: string, { answers = {} }: Life = {}): Promise<Living> {
    const living = await Living.#loaded(answers);
    living.root.innerHTML = html;
    return living;
  }

  /** Whether nobody sees the page. */
  set hidden(hidden: boolean) {
    const visibilityState = hidden ? "hidden" : "visible";
    for (const [name, value] of Object.entries({ hidden, visibilityState })) {
      Object.defineProperty(this.document, name, { value, configurable: true });
    }
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
    const due = [...this.#later.values()];
    this.#later.clear();
    await this.do(() => due.forEach((run) => run()));
  }

  /** Has what happens again and again happen once. */
  async tick(): Promise<void> {
    await this.do(() => this.#often.forEach((run) => run()));
  }

  /** How much is to happen again and again. */
  get ticking(): number {
    return this.#often.size;
  }

  #putOff(run: () => void): number {
    const timer = --this.#timers;
    this.#later.set(timer, run);
    return timer;
  }

  /** All elements that fit. */
  all(fits: (node: Live) => boolean): Live[] {
    return all(this.root, fits);
  }

  /** The only element of a tag that has the text, or an attribute with it. */
  one(tag: string, text: string): Live {
    const found = this.all((node) =>
      node.localName === tag &&
      (node.textContent.includes(text) || [...node.attributes].some(({ value }) => value === text))
    );
    if (found.length !== 1) throw new Error(`${found.length} of ${tag} ${text}: ${this.html}`);
    return found[0]!;
  }

  /** The first element of a selector. */
  at(selector: string): Live {
    return this.document.querySelector(selector) as unknown as Live;
  }

  /** All elements of a selector. */
  every(selector: string): Live[] {
    return [...this.document.querySelectorAll(selector)] as unknown as Live[];
  }

  /** What the tab keeps under a name; null: nothing. */
  kept(name: string): unknown {
    return JSON.parse(this.#window.sessionStorage.getItem(name) ?? "null");
  }

  /** How often an element was led to. */
  focused(node: unknown): number {
    return this.#focused.get(node) ?? 0;
  }

  /** Something that somebody does to an element, or to the document. */
  async on(
    node: { dispatchEvent(event: Event): boolean },
    type: string,
    more: Record<string, unknown> = {},
  ): Promise<Event> {
    const event = this.event(type, more);
    await this.do(() => node.dispatchEvent(event));
    return event;
  }

  /** An event with these members, as a browser sends it. */
  event(type: string, more: Record<string, unknown> = {}): Event {
    const event = new Event(type, { bubbles: true, cancelable: true });
    for (const [name, value] of Object.entries(more)) Object.defineProperty(event, name, { value });
    return event;
  }

  click(tag: string, text: string): Promise<Event> {
    return this.on(this.one(tag, text), "click");
  }

  async type(node: Live, value: string): Promise<void> {
    node.value = value;
    await this.on(node, "input");
  }

  get stream(): FakeEventSource | undefined {
    return FakeEventSource.opened.at(-1);
  }

  /** Requests that must not change what is there already (`If-None-Match: *`), as in `asked`. */
  get onlyNew(): string[] {
    return this.asked.filter((_, i) => this.heads[i]!.get("if-none-match") === "*");
  }

  get html(): string {
    return this.root.outerHTML;
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
