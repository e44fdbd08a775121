/// <reference lib="dom" />
import { type RefObject } from "preact";
import { useRef, useState } from "preact/hooks";

const SAID_MS = 1500;

/**
 * Copies a text, and says so for a moment. A browser gives pages without TLS no clipboard, and its user may refuse it: then the
 * element that shows the text is selected, for the keys that copy.
 */
export function useCopy(
  text: string,
): { shown: RefObject<HTMLElement | null>; copied: boolean; copy: () => Promise<void> } {
  const [copied, setCopied] = useState(false);
  const shown = useRef<HTMLElement>(null);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      getSelection()!.selectAllChildren(shown.current!);
      return;
    }
    setCopied(true);
    setTimeout(() => setCopied(false), SAID_MS);
  };
  return { shown, copied, copy };
}
