/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
import { setPreference } from "./cookies.ts";

/** Switches colours at once; without this the form does it with a new page. */
export function switchTheme(): void {
  const buttons = [
    ...document.querySelectorAll<HTMLButtonElement>('.settings-row button[name="theme"]'),
  ];
  const announce = () => dispatchEvent(new Event("themechange"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", announce);
  for (const button of buttons) {
    button.addEventListener("click", (event) => {
      event.preventDefault();
      document.documentElement.dataset.theme = button.value;
      setPreference("theme", button.value);
      for (const each of buttons) {
        each.setAttribute("aria-pressed", String(each.value === button.value));
      }
      announce();
    });
  }
}
