/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
import { type ComponentType, hydrate } from "preact";
import { useEffect } from "preact/hooks";
import type { Messages } from "../i18n/en.ts";
import type { Role } from "../../vocabulary/words.ts";
import type { Lang } from "./locale.ts";
import { parseExact } from "../../vocabulary/exact_json.ts";
import "./addresses.ts";
import { LocaleProvider, ViewerContext } from "./context.tsx";

function Hydrated({ element }: { element: Element }) {
  useEffect(() => element.classList.add("ready"), []);
  return null;
}

/**
 * In the browser: hydrates the places of an island with the properties that the server rendered it with. `says`: it shows
 * what the server says (`Said`), which needs the catalogue of that.
 */
export function mount<P extends object>(
  name: string,
  Component: ComponentType<P>,
  { says = false } = {},
): void {
  if (typeof document !== "undefined") void hydrateAll(name, Component, says);
}

async function hydrateAll<P extends object>(
  name: string,
  Component: ComponentType<P>,
  says: boolean,
): Promise<void> {
  const { lang, dataset } = document.documentElement;
  const [{ default: messages }, { translate }] = await Promise.all([
    import(dataset.messages!) as Promise<{ default: Messages }>,
    (says && dataset.said !== undefined ? import(dataset.said) : {}) as
      | Promise<{ translate: (text: string) => string }>
      | { translate?: undefined },
  ]);
  const settings = {
    lang: lang as Lang,
    tag: dataset.tag!,
    zone: dataset.zone!,
    messages,
    ...(translate === undefined ? {} : { translate }),
  };
  const viewer = {
    role: dataset.role as Role,
    needsToken: dataset.needsToken !== undefined,
    origin: dataset.origin!,
  };
  for (const element of document.querySelectorAll(`[data-island="${name}"]`)) {
    const props = parseExact(element.nextElementSibling!.textContent!) as P;
    const typed = changedInputs(element);
    hydrate(
      <LocaleProvider settings={settings} now={Number(dataset.now)}>
        <ViewerContext.Provider value={viewer}>
          <Component {...props} />
          <Hydrated element={element} />
        </ViewerContext.Provider>
      </LocaleProvider>,
      element,
    );
    for (const tell of typed) tell();
  }
}

/**
 * What somebody has typed or chosen before the script came, and what a browser puts back after a reload: each is told to
 * the component as if it happened now, or the next rendering would take it away.
 */
function changedInputs(element: Element): (() => void)[] {
  const tell = (input: Element, type: string, put = () => {}) => () => {
    put();
    // to it alone: a choice put back by the browser does not send a form of the page
    input.dispatchEvent(new Event(type));
  };
  return [...element.querySelectorAll("input, textarea, select")].flatMap((input) => {
    if (input instanceof HTMLSelectElement) {
      const { value } = input;
      const given = [...input.options].findIndex(({ defaultSelected }) => defaultSelected);
      if (input.selectedIndex === Math.max(given, 0)) return [];
      return [tell(input, "change", () => void (input.value = value))];
    }
    const field = input as HTMLInputElement | HTMLTextAreaElement;
    if (field instanceof HTMLInputElement && ["checkbox", "radio"].includes(field.type)) {
      const { checked } = field;
      if (checked === field.defaultChecked || field.type === "radio" && !checked) return [];
      return [tell(field, "change", () => void (field.checked = checked))];
    }
    const { value } = field;
    return value === field.defaultValue || field.type === "file"
      ? []
      : [tell(field, "input", () => void (field.value = value))];
  });
}
