// Work on many items, a few at a time: a browser opens six connections to a server.

const AT_A_TIME = 4;

/** Do an action for each item. Returns a promise for each of those who share the work: one ends at its first error. */
export function workers(items, action) {
  const waiting = [...items];
  const work = async () => {
    while (waiting.length) await action(waiting.shift());
  };
  return Array.from({ length: AT_A_TIME }, work);
}
