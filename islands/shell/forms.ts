/// <reference lib="dom" />

/** A choice in a filter takes effect at once. */
export function submitOnChange(): void {
  document.addEventListener("change", (event) => {
    const field = event.target as HTMLElement;
    if (field.dataset.submit === undefined) return;
    field.closest("form")?.requestSubmit();
  });
}
