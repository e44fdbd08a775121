/// <reference lib="dom" />
import { useRef } from "preact/hooks";

/**
 * Tells answers that come too late. `take()` takes a turn, before an answer is waited for; what it returns says afterwards
 * whether no other has been taken meanwhile. Whoever changes what was asked about takes one as well.
 */
export function useTurns(): () => () => boolean {
  const last = useRef(0);
  return () => {
    const turn = ++last.current;
    return () => turn === last.current;
  };
}
