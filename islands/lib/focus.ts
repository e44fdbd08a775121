/// <reference lib="dom" />

/** Gives the focus of a row that goes away to the button that adds one: it would be lost otherwise. */
export function focusAddAfter(removal: Event): void {
  const box = (removal.currentTarget as HTMLElement).closest("dialog, main");
  requestAnimationFrame(() => box?.querySelector<HTMLElement>("[data-add]")?.focus());
}
