/// <reference lib="dom" />
import { useEffect, useState } from "preact/hooks";
import { reloadIfSignedOut } from "./api.ts";
import { at } from "./base.ts";

export type Connection = "connecting" | "live" | "lost";

/**
 * Follows a stream of server-sent events while the page is in view: a hidden
 * tab holds no connection, as browsers allow only six to a server.
 * `onEvent` answers true when the stream has nothing more to say.
 */
export function useEvents(
  url: string | null,
  onEvent: (type: string, data: unknown) => boolean | void,
  types: string[],
): Connection {
  const [connection, setConnection] = useState<Connection>("connecting");
  useEffect(() => {
    if (url === null) return;
    let source: EventSource | null = null;
    const close = () => {
      source?.close();
      source = null;
    };
    const open = () => {
      if (source !== null || document.hidden) return;
      const opened = source = new EventSource(at(url));
      source.onopen = () => setConnection("live");
      source.onerror = () => {
        setConnection("lost");
        void reloadIfSignedOut(opened);
      };
      for (const type of types) {
        source.addEventListener(type, (event) => {
          if (onEvent(type, JSON.parse((event as MessageEvent<string>).data)) === true) end();
        });
      }
    };
    const onVisibility = () => document.hidden ? close() : open();
    const end = () => {
      close();
      document.removeEventListener("visibilitychange", onVisibility);
    };
    document.addEventListener("visibilitychange", onVisibility);
    open();
    return end;
  }, [url]);
  return connection;
}
