const HERE = /^\/(?:etl|api)(?:[/?][\x21-\x5b\x5d-\x7e]*)?$/;

/** A path of this server to go back to, never another server's address; else the overview. */
export function returnPath(to: unknown): string {
  return typeof to === "string" && HERE.test(to) && !to.includes("/..") ? to : "/etl";
}
