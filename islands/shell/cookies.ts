/// <reference lib="dom" />

const YEAR_SECONDS = 365 * 24 * 3600;

/** Keeps a preference, for the server's next page. */
export function setPreference(name: "theme" | "zone", value: string): void {
  document.cookie = `etl_${name}=${
    encodeURIComponent(value)
  }; path=/etl; max-age=${YEAR_SECONDS}; samesite=lax`;
}
