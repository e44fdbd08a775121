import assert from "node:assert/strict";
import { begin as beginAlerts } from "../../islands/alerts.ts";
import { begin as beginHistory } from "../../islands/history.ts";
import { FakeEventSource, Living } from "../helpers/dom.ts";
import { textOf } from "../helpers/pages.ts";

const row = (id: string, state: string, text = state) =>
  `<tr data-run="${id}" data-state="${state}"><td><input data-choose></input></td>` +
  `<td><span class="state is-${state}">${text}</span></td></tr>`;

const bulk = `
  <div class="bulk" hidden data-done="{n} of {of} done." data-progress="{n} of {of} …" data-offline="offline">
    <span class="bulk-count" data-text="{n} chosen"></span>
    <button data-bulk="retry"><span data-text="Retry {n}"></span></button>
    <button data-bulk="cancel"><span data-text="Cancel {n}"></span></button>
    <div class="bulk-answer"></div>
  </div>`;

const list = (...rows: string[]) =>
  `<a class="news" hidden href="http://here/etl/runs?state=failed"><span data-one="1 new run" data-many="{n} new runs"></span></a>
   <section class="history">${bulk}<table><tr><th><input data-choose-all></input></th></tr>${
    rows.join("")
  }</table></section>`;

const HERE = "http://here/etl";

async function history(rows: string[], answers: Record<string, unknown> = {}) {
  const page = await Living.page(list(...rows), { answers });
  beginHistory();
  const all = (selector: string) => page.every(selector);
  const one = (selector: string) => page.at(selector);
  const tell = (...ids: string[]) =>
    page.do(() => page.stream!.tell("parts", { recent: ids.map((run_id) => ({ run_id })) }));
  const choose = async (...ids: string[]) => {
    for (const id of ids) {
      const box = one(`[data-run="${id}"] [data-choose]`);
      box.checked = true;
      await page.on(box, "change");
    }
  };
  const bar = () => textOf(one(".bulk").outerHTML);
  return { page, all, one, tell, choose, bar };
}

const html = (...rows: string[]) => () => new Response(list(...rows));

Deno.test("new runs are announced and counted, and those that were there are none", async () => {
  const { page, one, tell } = await history([row("a", "failed")]);
  using _ = page;
  const news = () => [one(".news").hidden, one(".news").textContent, one(".news").href];
  await tell("a");
  assert.equal(news()[0], true);
  await tell("b", "a");
  assert.deepEqual(news(), [false, "1 new run", "http://here/etl/runs?state=failed&since=b"]);
  await tell("c", "b", "a");
  assert.deepEqual(news(), [false, "2 new runs", "http://here/etl/runs?state=failed&since=c"]);
  assert.equal(page.document.documentElement.dataset.following, "yes");
});

Deno.test("rows in motion are looked up until none is, in their places; those at rest are not", async () => {
  const answers = { [`GET ${HERE}`]: html(row("a", "succeeded"), row("b", "failed", "changed")) };
  const { page, all, tell, choose } = await history(
    [row("a", "running"), row("b", "failed")],
    answers,
  );
  using _ = page;
  await choose("a");
  await tell("a", "b");
  assert.deepEqual(page.asked, []);
  await page.pass();
  assert.deepEqual(page.asked, [`GET ${HERE}`]);
  assert.deepEqual(all(".state").map((node) => node.textContent), ["succeeded", "changed"]);
  // who has chosen a run has it chosen still
  assert.deepEqual(all("[data-choose]").map(({ checked }) => checked === true), [true, false]);
  await page.pass();
  await tell("a", "b");
  await page.pass();
  assert.equal(page.asked.length, 1);
});

Deno.test("a row that the keyboard is in stays as it is, and so do all where the server does not answer", async () => {
  const answered = html(row("a", "succeeded"));
  const { page, all, one, tell } = await history([row("a", "running")], {
    [`GET ${HERE}`]: answered,
  });
  using _ = page;
  one("[data-choose]").focus();
  await tell("a");
  await page.pass();
  assert.deepEqual(all(".state").map((node) => node.textContent), ["running"]);
  one("[data-choose]").blur();
  page.answers[`GET ${HERE}`] = () => new Response("<p></p>", { status: 503 });
  await page.pass();
  assert.deepEqual(all(".state").map((node) => node.textContent), ["running"]);
  page.answers[`GET ${HERE}`] = answered;
  await page.pass();
  assert.deepEqual(all(".state").map((node) => node.textContent), ["succeeded"]);
});

Deno.test("what can be done with chosen runs is counted by their states", async () => {
  const { page, all, one, choose, bar } = await history([
    row("a", "failed"),
    row("b", "cancelled"),
    row("c", "running"),
    row("d", "succeeded"),
  ]);
  using _ = page;
  const off = () => all("[data-bulk]").map((node) => node.disabled);
  await choose("a", "b", "d");
  assert.equal(one(".bulk").hidden, false);
  assert.equal(bar(), "3 chosen Retry 2 Cancel 0");
  assert.deepEqual(off(), [false, true]);
  const every = one("[data-choose-all]");
  assert.deepEqual([every.checked, every.indeterminate], [false, true]);
  await choose("c");
  assert.equal(bar(), "4 chosen Retry 2 Cancel 1");
  assert.deepEqual([every.checked, every.indeterminate], [true, false]);
  every.checked = false;
  await page.on(every, "change");
  assert.equal(one(".bulk").hidden, true);
  every.checked = true;
  await page.on(every, "change");
  assert.equal(bar(), "4 chosen Retry 2 Cancel 1");
});

Deno.test("chosen runs are acted on once each; what could not be is said once with its runs", async () => {
  const refused = (run: string) => () =>
    Response.json({ detail: `run ${run} is gone` }, { status: 404 });
  const answers = {
    "POST /api/etl/runs/run-a/retry": {},
    "POST /api/etl/runs/run-b/retry": refused("run-b"),
    "POST /api/etl/runs/run-c/retry": refused("run-c"),
  };
  const { page, all, one, choose } = await history([
    row("run-a", "failed"),
    row("run-b", "failed"),
    row("run-c", "cancelled"),
    row("run-d", "succeeded"),
  ], answers);
  using _ = page;
  await choose("run-a", "run-b", "run-c", "run-d");
  const retry = one('[data-bulk="retry"]');
  await page.do(() => {
    retry.dispatchEvent(page.event("click"));
    retry.dispatchEvent(page.event("click"));
  });
  const posted = page.asked.filter((each) => each.startsWith("POST"));
  assert.deepEqual(posted, Object.keys(answers));
  assert.equal(
    textOf(one(".bulk-answer").outerHTML),
    "1 of 3 done. 2 × run … is gone …run-b …run-c",
  );
  assert.deepEqual(all(".bulk-reason a").map(({ href }) => href), [
    "http://here/etl/runs/run-b",
    "http://here/etl/runs/run-c",
  ]);
  assert.deepEqual(all("[data-choose]").filter(({ checked }) => checked === true), []);
  // what came of it is looked up past what is kept for a second
  assert.match(page.asked.at(-1)!, /^GET http:\/\/here\/etl\?since=\d+$/);
  // the answer stays until something is chosen again
  assert.equal(one(".bulk").hidden, false);
  await choose("run-d");
  assert.equal(one(".bulk-answer").textContent, "");
});

const incidents = (mark: string, text: string) =>
  `<p id="incidents-failure"></p><div id="incidents" data-mark="${mark}" data-offline="offline">` +
  `<li data-row="f1"><button data-handle="silence" aria-label="silence">x</button>` +
  `<button data-handle="close" aria-label="close">${text}</button></li></div><div id="alerts">${text}</div>`;

const shown = (mark: string, text: string) => () => new Response(incidents(mark, text));

Deno.test("incidents are shown anew when something about them has changed, and only then", async () => {
  const page = await Living.page(incidents("m1", "old"), {
    answers: { [`GET ${HERE}?since=m2`]: shown("m2", "new") },
  });
  using _ = page;
  beginAlerts();
  const told = (parts: object) => page.do(() => page.stream!.tell("parts", parts));
  await told({ incidents: "m1" });
  await told({ pools: [] });
  assert.deepEqual(page.asked, []);
  let changes = 0;
  addEventListener("contentchange", () => changes++);
  await told({ incidents: "m2" });
  assert.deepEqual(page.asked, [`GET ${HERE}?since=m2`]);
  assert.equal(textOf(page.html), "x new new");
  // times that came with it are put in the viewer's zone
  assert.equal(changes, 1);
  // what is the same is left alone, with what the pointer or the keyboard is on
  const before = page.at("#alerts");
  page.answers[`GET ${HERE}?since=m3`] = shown("m3", "new");
  await told({ incidents: "m3" });
  assert.equal(page.at("#incidents")!.dataset.mark, "m3");
  assert.ok(page.at("#alerts") === before);
});

Deno.test("an incident is handled by the button of its row, once; what is refused is said", async () => {
  let answer: unknown = () => Response.json({ detail: "closed <already>" }, { status: 409 });
  const page = await Living.page(incidents("m1", "old"), {
    answers: { "POST /api/alerts/handle": () => (answer as () => unknown)() },
  });
  using _ = page;
  beginAlerts();
  const press = (action: string) => page.on(page.at(`[data-handle="${action}"]`)!, "click");
  await press("close");
  assert.deepEqual(page.sent, [{ fingerprint: "f1", action: "close" }]);
  const failure = () => page.at("#incidents-failure")!.textContent;
  assert.equal(failure(), "closed <already>");
  const late = Promise.withResolvers<unknown>();
  answer = () => late.promise;
  await press("silence");
  assert.equal(failure(), "");
  await press("close");
  assert.deepEqual(page.sent.slice(1), [{ fingerprint: "f1", action: "silence", minutes: 60 }]);
  await page.do(() => late.resolve({}));
  assert.match(page.asked.at(-1)!, /^GET http:\/\/here\/etl\?since=[0-9a-f-]{36}$/);
});

Deno.test("the focus stays at what does the same, or in the row, or goes to the page", async () => {
  const buttons = (...names: string[]) =>
    names.map((name) => `<button aria-label="${name}">${name}</button>`).join("");
  const part = (mark: string, inside: string) =>
    `<div id="incidents" data-mark="${mark}"><li data-row="f1">${inside}</li></div><div id="alerts"></div>`;
  const focused = async (after: string) => {
    const page = await Living.page(part("m1", buttons("a", "b")), {
      answers: { [`GET ${HERE}?since=m2`]: () => new Response(part("m2", after)) },
    });
    using _ = page;
    page.root.insertAdjacentHTML("beforeend", '<p id="incidents-failure"></p>');
    beginAlerts();
    page.at('[aria-label="b"]').focus();
    await page.do(() => page.stream!.tell("parts", { incidents: "m2" }));
    const found = page.all((node) => page.focused(node) > 0);
    return found.map((node) => node.getAttribute("aria-label") ?? node.localName).join();
  };
  assert.equal(await focused(buttons("c", "b")), "b");
  assert.equal(await focused(buttons("c", "d")), "c");
  assert.equal(await focused(""), "main");
});

Deno.test("of several looks the last one counts, whichever is answered last", async () => {
  const first = Promise.withResolvers<Response>();
  const page = await Living.page(incidents("m1", "old"), {
    answers: {
      [`GET ${HERE}?since=m2`]: () => first.promise,
      [`GET ${HERE}?since=m3`]: shown("m3", "third"),
    },
  });
  using _ = page;
  beginAlerts();
  await page.do(() => page.stream!.tell("parts", { incidents: "m2" }));
  await page.do(() => page.stream!.tell("parts", { incidents: "m3" }));
  await page.do(() => first.resolve(shown("m2", "second")()));
  assert.equal(textOf(page.html), "x third third");
});

Deno.test("a list that nobody sees is not followed, and is again when it is seen", async () => {
  const { page } = await history([row("a", "failed")]);
  using _ = page;
  const see = (hidden: boolean) =>
    page.do(() => {
      page.hidden = hidden;
      page.document.dispatchEvent(page.event("visibilitychange"));
    });
  assert.equal(page.stream!.url, "/etl/events");
  await see(true);
  assert.equal(page.stream!.readyState, FakeEventSource.CLOSED);
  await see(false);
  assert.equal(FakeEventSource.opened.length, 2);
});
