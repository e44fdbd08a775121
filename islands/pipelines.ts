/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
import { at } from "./lib/base.ts";
import { followParts, showAgain } from "./lib/follow.ts";

/** The list is looked up again at most so often: longer than the server keeps its answer. */
const MIN_INTERVAL_MS = 3000;
/** Also where no run tells of itself: slots, incidents. */
const MAX_INTERVAL_MS = 30_000;
const TYPING_MS = 150;

const show = () => showAgain(["pipelines"]);

/** What the bars of a row are of, newest first. */
interface Bar {
  run_id: string;
  text: string;
}

const STEP = 8;

/** Bars are one drawing a row: the one below the pointer is told what it is, and leads to its run. */
function nameBars(): void {
  const known = new WeakMap<HTMLAnchorElement, Promise<Bar[]>>();
  const look = async (link: HTMLAnchorElement): Promise<Bar[]> => {
    const last = link.closest("tr")!.querySelector<HTMLAnchorElement>(".pipeline-state a")!;
    const query = new URLSearchParams({ last: last.pathname.split("/").at(-1)! });
    if (link.dataset.ofSchedule !== undefined) query.set("of_schedule", "true");
    const response = await fetch(at(`/etl/pipelines/bars?${query}`));
    return response.ok ? await response.json() : [];
  };
  document.addEventListener("pointermove", async (event) => {
    const link = (event.target as Element).closest<HTMLAnchorElement>("a.bars");
    if (link === null) return;
    const drawing = link.querySelector("svg")!;
    link.dataset.all ??= link.href;
    let bars = known.get(link);
    if (bars === undefined) known.set(link, bars = look(link).catch(() => []));
    const { right } = drawing.getBoundingClientRect();
    const index = Math.floor((right - event.clientX) / STEP);
    link.dataset.at = String(index);
    const bar = (await bars)[index];
    // the pointer may have gone on meanwhile
    if (link.dataset.at !== String(index)) return;
    link.href = bar === undefined ? link.dataset.all : at(`/etl/runs/${bar.run_id}`);
    link.title = bar?.text ?? "";
    let room = drawing.querySelector(".bar-room");
    if (room === null) {
      room = document.createElementNS("http://www.w3.org/2000/svg", "rect");
      room.setAttribute("class", "bar-room");
      room.setAttribute("width", String(STEP));
      room.setAttribute("height", "100%");
      drawing.prepend(room);
    }
    room.setAttribute(
      "x",
      bar === undefined ? "-100" : String(drawing.clientWidth - (index + 1) * STEP),
    );
  });
}

/** Follows what happens, while the page is in view. */
function follow(): void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let last = performance.now();
  const later = (ms: number, next = MAX_INTERVAL_MS) => {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      last = performance.now();
      if (!document.hidden) await show();
      later(next);
    }, ms);
  };
  later(MAX_INTERVAL_MS);
  followParts(() => {
    // and once more: what is answered may have been looked up for another page just before
    later(Math.max(0, MIN_INTERVAL_MS - (performance.now() - last)), MIN_INTERVAL_MS);
    return true;
  });
}

/** What is typed is looked up at once. */
function searchAsTyped(): void {
  const field = document.querySelector<HTMLInputElement>("#pipeline-search");
  let timer: ReturnType<typeof setTimeout> | undefined;
  field?.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      const url = new URL(location.href);
      url.search = field.value === "" ? "" : `?q=${encodeURIComponent(field.value)}`;
      history.replaceState(null, "", url);
      void show();
    }, TYPING_MS);
  });
}

/** In the browser: what the page of pipelines can do. */
export function begin(): void {
  follow();
  nameBars();
  searchAsTyped();
}

if (typeof document !== "undefined") begin();
