import type { ComponentType } from "preact";

interface IslandProps<P extends object> {
  /** Entry of the island: islands/entries/<name>.ts */
  name: string;
  component: ComponentType<P>;
  props: P;
}

/** A part of the page that its script makes alive: rendered here, with its properties beside it. */
export function Island<P extends object>({ name, component: Component, props }: IslandProps<P>) {
  return (
    <>
      <div class="island" data-island={name}>
        <Component {...props} />
      </div>
      <script
        type="application/json"
        // deno-lint-ignore react-no-danger
        dangerouslySetInnerHTML={{ __html: inScript(props) }}
      />
    </>
  );
}

/** JSON that cannot end the script element that holds it. */
function inScript(value: unknown): string {
  return JSON.stringify(value).replaceAll("<", "\\u003c").replaceAll("\u2028", "\\u2028")
    .replaceAll("\u2029", "\\u2029");
}
