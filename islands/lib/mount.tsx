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

/** In the browser: hydrates the places of an island with the properties that the server rendered it with. */
export function mount<P extends object>(name: string, Component: ComponentType<P>): void {
  if (typeof document !== "undefined") void hydrateAll(name, Component);
}

async function hydrateAll<P extends object>(
  name: string,
  Component: ComponentType<P>,
): Promise<void> {
  const { lang, dataset } = document.documentElement;
  const { default: messages, translate } = await import(dataset.messages!) as {
    default: Messages;
    translate?: (text: string) => string;
  };
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
    hydrate(
      <LocaleProvider settings={settings} now={Number(dataset.now)}>
        <ViewerContext.Provider value={viewer}>
          <Component {...props} />
          <Hydrated element={element} />
        </ViewerContext.Provider>
      </LocaleProvider>,
      element,
    );
  }
}
