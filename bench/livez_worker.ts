/// <reference lib="deno.worker" />
/** Asks a server for /livez again and again, in a thread that nothing else holds up; answers the longest wait in ms. */
const PAUSE_MS = 20;

let over = false;

self.onmessage = async ({ data }: MessageEvent<{ address: string } | "stop">) => {
  if (data === "stop") {
    over = true;
    return;
  }
  let longest = 0;
  while (!over) {
    const asked = performance.now();
    const response = await fetch(`${data.address}/livez`);
    await response.body?.cancel();
    longest = Math.max(longest, performance.now() - asked);
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  self.postMessage(longest);
};
