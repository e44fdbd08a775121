/**
 * This process's clock, wrong by so many days until it is disposed of; the database's goes on as it is. Workers have clocks
 * of their own.
 */
export function wrongClock(days: number): Disposable {
  const Right = globalThis.Date;
  const now = () => Right.now() + days * 86_400_000;
  globalThis.Date = new Proxy(Right, {
    construct: (_, args) => args.length === 0 ? new Right(now()) : Reflect.construct(Right, args),
    get: (target, name, receiver) => name === "now" ? now : Reflect.get(target, name, receiver),
  });
  return { [Symbol.dispose]: () => void (globalThis.Date = Right) };
}
