import assert from "node:assert/strict";
import { h } from "preact";
import { useState } from "preact/hooks";
import { DeclaredColumns, FieldAndFormat, TextOrField } from "../../islands/form/declared.tsx";
import { sourceFields } from "../../islands/form/conf.ts";
import { confJsonSchema } from "../../pipeline/params.ts";
import { type Live, Living } from "../helpers/dom.ts";
import { textOf } from "../helpers/pages.ts";

const fields = sourceFields(confJsonSchema() as never, "file");
const field = (name: string) => fields.find((each) => each.name === name)!;
const KNOWN = ["order", "price", "sold"];

/** A field whose text is kept, as the form keeps it, with every text that it was given. */
async function living(component: unknown, value: string, props: object) {
  const given: string[] = [];
  function Form() {
    const [now, setNow] = useState(value);
    const onChange = (text: string) => (given.push(text), setNow(text));
    return h(component as never, { ...props, value: now, onChange } as never);
  }
  return { living: await Living.of(Form, {}), given };
}

const choose = (living: Living, node: Live, value: string) => {
  node.value = value;
  return living.on(node, "change");
};

Deno.test("an event type is a fixed text or a field of the records, and goes from one to the other", async () => {
  const props = { common: { id: "type" }, name: "event_type", known: KNOWN };
  const { living: page, given } = await living(TextOrField, "", props);
  using _ = page;
  const [kind, input] = [page.one("select", "event_type: fixed text or a field"), page.at("#type")];
  const fieldsShown = () => page.every("#type-fields option").map((each) => each.value);
  assert.deepEqual([kind.value, input.getAttribute("list"), fieldsShown()], ["text", null, []]);
  await page.type(input, "order");
  await choose(page, kind, "field");
  assert.deepEqual([input.value, input.getAttribute("list")], ["order", "type-fields"]);
  assert.deepEqual(fieldsShown(), KNOWN);
  await page.type(input, "");
  assert.equal(kind.value, "field", "it is a field that is still to be named");
  await page.type(input, "sold");
  await choose(page, kind, "text");
  assert.equal(input.value, "sold");
  assert.deepEqual(given, ["order", '{"field":"order"}', "", '{"field":"sold"}', "sold"]);
  // so it is of a field that was given
  const { living: other } = await living(TextOrField, '{"field":"a"}', props);
  using __ = other;
  await other.type(other.at("#type"), "");
  assert.equal(other.one("select", "event_type: fixed text or a field").value, "field");
});

Deno.test("a time is a field and how it is written, which stays while another is named", async () => {
  const { options: formats } = field("occurred_at");
  const props = { common: { id: "at" }, name: "occurred_at", known: KNOWN, formats };
  const { living: page, given } = await living(FieldAndFormat, "", props);
  using _ = page;
  const [format, input] = [page.one("select", "Format of occurred_at"), page.at("#at")];
  assert.deepEqual([format.value, format.hasAttribute("disabled")], ["iso", true]);
  await page.type(input, "at");
  assert.equal(format.hasAttribute("disabled"), false);
  await choose(page, format, "epoch_ms");
  await page.type(input, "");
  assert.equal(format.value, "epoch_ms");
  await page.type(input, "sold");
  await choose(page, format, "iso");
  assert.deepEqual(page.every("#at-fields option").map((each) => each.value), KNOWN);
  assert.deepEqual(given, [
    ...["at", '{"field":"at","format":"epoch_ms"}', "", '{"field":"sold","format":"epoch_ms"}'],
    "sold",
  ]);
});

const columns = (value: string, proposals: unknown[] = []) =>
  living(DeclaredColumns, value, {
    ...{ id: "columns", described: "help", invalid: false, known: KNOWN, proposals },
    members: field("columns").members!,
  });

Deno.test("a declared column says what its type makes of it, and nothing else", async () => {
  const { living: page } = await columns(
    '{"a":"text","b":"date","c":"numeric(5,2)","d":"boolean","e":{"format":"x"},"f":"uuid"}',
  );
  using _ = page;
  const rows = page.every(".declared-row");
  assert.deepEqual(rows.map((row) => row.getAttribute("aria-label")), [..."abcdef"]);
  const labels = (row: Live) =>
    [...row.querySelectorAll("label > span")].map((each) => each.textContent);
  const [nulls, renamed] = ["Texts that are null", "Column of the table"];
  const head = ["Column", "Type"];
  assert.deepEqual(
    rows.map((row) => labels(row).sort()),
    [
      [...head, renamed, nulls],
      [...head, renamed, nulls, "Format"],
      [...head, renamed, nulls, "Digits", "Decimals", "Decimal sign", "Thousands sign"],
      [...head, renamed, nulls, "Texts that are true", "Texts that are false"],
      [...head, renamed],
      [...head, renamed, nulls],
    ].map((each) => each.sort()),
  );
  const types = rows.map((row) => (row.querySelector("select") as unknown as Live).value);
  assert.deepEqual(types, ["text", "date", "numeric", "boolean", "", "uuid"]);
  assert.ok(page.every("input").every((each) => page.focused(each) === 0));
});

Deno.test("columns are declared in rows of inputs, which say what is sent", async () => {
  const { living: page, given } = await columns("");
  using _ = page;
  const row = (name: string) =>
    page.every(".declared-row").filter((each) => each.getAttribute("aria-label") === name).at(-1)!;
  const input = (name: string, label: string) =>
    [...row(name).querySelectorAll("label")].find((each) => each.textContent.startsWith(label))!
      .querySelector("input, select") as unknown as Live;
  const last = () => given.at(-1);
  const hints = () => page.every("#columns-known option").map((each) => each.value);
  assert.deepEqual(hints(), KNOWN);
  await page.click("button", "Add a column");
  assert.deepEqual(given, [], "it has no name yet");
  assert.equal(page.focused(input("Column 1", "Column")), 1);
  await choose(page, input("Column 1", "Type"), "integer");
  assert.equal(last(), "");
  await choose(page, input("Column 1", "Type"), "text");
  await page.type(input("Column 1", "Column"), "price");
  assert.deepEqual([last(), hints()], ['{"price":"text"}', ["order", "sold"]]);
  await choose(page, input("price", "Type"), "numeric");
  await page.type(input("price", "Decimals"), "2");
  await page.type(input("price", "Digits"), "1x0");
  await page.type(input("price", "Decimal sign"), ",");
  assert.equal(last(), '{"price":{"type":"numeric(10,2)","decimal":","}}');
  await choose(page, input("price", "Type"), "integer");
  assert.equal(last(), '{"price":{"type":"integer","decimal":","}}');
  await choose(page, input("price", "Type"), "numeric");
  await page.type(input("price", "Decimals"), "2");
  await page.type(input("price", "Digits"), "10");
  await page.type(input("price", "Decimal sign"), "");
  assert.equal(last(), '{"price":"numeric(10,2)"}');
  // a list stays as it is typed for as long as it says the same
  const nulls = input("price", "Texts that are null");
  await page.type(nulls, "n/a, -,");
  assert.equal(nulls.value, "n/a, -,");
  assert.equal(last(), '{"price":{"type":"numeric(10,2)","null_values":["n/a","-"]}}');
  await page.type(nulls, "");
  assert.equal(last(), '{"price":"numeric(10,2)"}');
  // what is declared twice is told
  await page.click("button", "Add a column");
  assert.equal(page.focused(input("Column 2", "Column")), 1);
  await page.click("button", "Add a column");
  assert.equal(page.every(".field-error").length, 0, "two without a name are not the same");
  await page.click("button", "Remove Column 3");
  assert.equal(page.focused(input("Column 2", "Column")), 1);
  await page.type(input("Column 2", "Column"), "price");
  assert.equal(page.every(".field-error").length, 2);
  assert.match(textOf(page.at(".field-error").outerHTML), /^price is declared twice/);
  await page.type(input("price", "Column"), "sold");
  assert.equal(page.every(".field-error").length, 0);
  assert.equal(last(), '{"price":"numeric(10,2)","sold":"text"}');
  await choose(page, input("sold", "Type"), "");
  assert.equal(last(), '{"price":"numeric(10,2)"}');
  await page.click("button", "Remove price");
  assert.equal(last(), "");
  assert.equal(page.focused(page.at("#columns-add")), 2);
  assert.equal(page.every(".declared-row").length, 1, "the other is still being written");
  // the JSON is as good
  await page.type(page.at("#columns-json"), '{"order":"integer"}');
  assert.deepEqual(page.every(".declared-row").map((each) => each.getAttribute("aria-label")), [
    "order",
  ]);
});

Deno.test("what is declared stays what it was while a column is called otherwise", async () => {
  const { living: page, given } = await columns(
    '{"a":{"column":"x"},"b":{"type":"text","null_values":["-","n/a"]}}',
  );
  using _ = page;
  assert.ok(page.every("input").some((each) => each.value === "-, n/a"));
  await page.type(page.at(".declared-row input"), "c");
  assert.deepEqual(given, ['{"c":{"column":"x"},"b":{"type":"text","null_values":["-","n/a"]}}']);
});

Deno.test("types that the records ask for come to those that are declared", async () => {
  const proposal = (name: string, declare: unknown) => ({
    name,
    declare,
    fits: 1,
    misfits: [],
    why: "",
  });
  const { living: page, given } = await columns('{"price":"text"}', [
    proposal("price", "numeric"),
    proposal("sold", { type: "date", format: "%d/%m/%Y" }),
    proposal("order", "integer"),
  ]);
  using _ = page;
  await page.click("button", "Add a column");
  await page.click("button", "Use the 2 proposed types");
  assert.deepEqual(given, [
    '{"price":"text","sold":{"type":"date","format":"%d/%m/%Y"},"order":"integer"}',
  ]);
  assert.equal(page.every(".declared-row").length, 3, "the row without a name is gone");
  assert.doesNotMatch(textOf(page.html), /proposed/);
  await page.click("button", "Remove sold");
  assert.match(textOf(page.html), /Use the proposed type/);
});
