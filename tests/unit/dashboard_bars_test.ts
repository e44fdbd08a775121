import assert from "node:assert/strict";
import { begin } from "../../islands/pipelines.ts";
import { type Live, Living } from "../helpers/dom.ts";

const HERE = "http://here/etl";

const bars = (label: string, more = "") =>
  `<td><a class="bars" href="/etl/runs?label=${label}" ${more}><svg></svg></a></td>`;

const list = (...rows: string[]) =>
  `<input id="pipeline-search"></input><div id="pipelines"><table>${rows.join("")}</table></div>`;

const row = (label: string, last: string, more?: string) =>
  `<tr><td class="pipeline-state"><a href="/etl/runs/${last}">${label}</a></td>${
    bars(label, more)
  }</tr>`;

async function open(html: string, answers: Record<string, unknown> = {}) {
  const page = await Living.page(html, { answers });
  begin();
  /** Moves the pointer so many pixels left of the right end of a row's drawing. */
  const point = async (link: Live, fromRight: number) => {
    const drawing = link.querySelector("svg")!;
    Object.defineProperties(drawing, {
      getBoundingClientRect: { value: () => ({ right: 500 }), configurable: true },
      clientWidth: { value: 180, configurable: true },
    });
    await page.on(drawing as never, "pointermove", { clientX: 500 - fromRight });
  };
  return { page, point };
}

const told = (link: Live) => [link.getAttribute("href"), link.title];
const mark = (link: Live) => link.querySelector(".bar-room")?.getAttribute("x");

Deno.test("the bar below the pointer is named, newest at the right, and leads to its run", async () => {
  const answer = [{ run_id: "b", text: "newest" }, { run_id: "a", text: "older" }];
  const { page, point } = await open(list(row("sales", "b")), {
    "GET /etl/pipelines/bars?last=b": answer,
  });
  using _ = page;
  const link = page.at("a.bars");
  await point(link, 7);
  assert.deepEqual(told(link), ["/etl/runs/b", "newest"]);
  assert.equal(mark(link), "172", "of 180 pixels");
  await point(link, 8);
  assert.deepEqual(told(link), ["/etl/runs/a", "older"]);
  assert.equal(mark(link), "164");
  // beyond the last bar
  await point(link, 16);
  assert.deepEqual(told(link), [`http://here/etl/runs?label=sales`, ""]);
  assert.equal(mark(link), "-100");
  assert.equal(link.querySelectorAll(".bar-room").length, 1);
  assert.equal(page.asked.length, 1, "asked once");
});

Deno.test("bars of a schedule are those of its slots, and a row whose bars cannot be had leads to its runs", async () => {
  const { page, point } = await open(
    list(row("sales", "b"), row("stock", "c", 'data-of-schedule="yes"')),
    {
      "GET /etl/pipelines/bars?last=b": () => Promise.reject(new Error("offline")),
      "GET /etl/pipelines/bars?last=c&of_schedule=true": [{ run_id: "c", text: "slot" }],
    },
  );
  using _ = page;
  const [without, scheduled] = page.every("a.bars");
  await point(without!, 1);
  assert.deepEqual(told(without!), ["http://here/etl/runs?label=sales", ""]);
  await point(scheduled!, 1);
  assert.deepEqual(told(scheduled!), ["/etl/runs/c", "slot"]);
});

Deno.test("a bar is not named after another when the pointer went on while bars were asked for", async () => {
  const asked = Promise.withResolvers<unknown>();
  const { page, point } = await open(list(row("sales", "b")), {
    "GET /etl/pipelines/bars?last=b": () => asked.promise,
  });
  using _ = page;
  const link = page.at("a.bars");
  await point(link, 9);
  await point(link, 1);
  const titles: string[] = [];
  Object.defineProperty(link, "title", { set: (title) => titles.push(title) });
  await page.do(() =>
    asked.resolve([{ run_id: "b", text: "newest" }, { run_id: "a", text: "older" }])
  );
  assert.deepEqual(titles, ["newest"]);
});

Deno.test("what is typed is searched for once nothing more is typed, and the address says so", async () => {
  const answers = {
    [`GET ${HERE}?q=a%26b`]: () => new Response(list(row("a&amp;b", "b"))),
    [`GET ${HERE}`]: () => new Response(list(row("sales", "b"))),
  };
  const { page } = await open(list(row("sales", "b")), answers);
  using _ = page;
  const field = page.at("#pipeline-search");
  const rows = () => page.every("#pipelines .pipeline-state").map((cell) => cell.textContent);
  await page.type(field, "a");
  await page.type(field, "a&b");
  assert.equal(page.asked.length, 0);
  await page.pass();
  const searches = page.asked.filter((request) => request.includes("?"));
  assert.deepEqual([searches, rows()], [[`GET ${HERE}?q=a%26b`], ["a&b"]]);
  assert.equal(location.href, `${HERE}?q=a%26b`);
  await page.type(field, "");
  await page.pass();
  assert.deepEqual([location.href, rows()], [HERE, ["sales"]]);
});

Deno.test("the list is shown again when something happens and after a while, not while nobody sees it", async () => {
  const answers = { [`GET ${HERE}`]: () => new Response(list(row("sales", "b"))) };
  const { page } = await open(list(row("sales", "b")), answers);
  using _ = page;
  await page.pass();
  assert.equal(page.asked.length, 1);
  await page.do(() => page.stream!.tell("parts", {}));
  await page.do(() => page.stream!.tell("parts", {}));
  assert.equal(page.asked.length, 1);
  await page.pass();
  assert.equal(page.asked.length, 2, "of several events one look");
  // and once more, for what was looked up just before
  await page.pass();
  assert.equal(page.asked.length, 3);
  page.hidden = true;
  await page.pass();
  assert.equal(page.asked.length, 3);
  page.hidden = false;
  await page.pass();
  assert.equal(page.asked.length, 4);
});
