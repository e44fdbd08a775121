/// <reference lib="dom" />

/**
 * A stream that the server has refused for good may mean that the session is
 * over: then the page is loaded again, which leads to the sign-in and back.
 */
export async function reloadIfSignedOut(source: EventSource): Promise<void> {
  if (source.readyState !== EventSource.CLOSED) return;
  const answer = await fetch("/etl/data/pools", { headers: { accept: "application/json" } })
    .catch(() => null);
  if (answer?.status === 401) location.reload();
}
