// Runs one benchmark: sends its tasks one after the other, and keeps what it has found over reloads and restarts.

import { cancelTask, describe, imageAddress, newUUID, submitTask, taskDetails, watchTask } from "../api.js";
import { t } from "../i18n.js";
import { likeness, pixelsOf } from "../likeness.js";
import { REFERENCE, tasksOf, wireTask } from "./plan.js";

const STORED = "ownware.benchmark";
const TAB = "ownware.benchmark.tab";
const listeners = new Set();
let run = load();
let running = null;

/**
 * The benchmark, or null. It has the `common` members of its tasks, `prompts`, `settings`, `rounds`, `tasks`, and its
 * `state`: `running`, `stopped` or `done`. `error` says why it stopped by itself. A task has its `state`: `planned`,
 * `sent` (`accepted` says that the server has it), `done` or `failed`; then `seconds`, `steps`, `reused`, `imageUUID`, `imageURL`, and its `likeness`.
 */
export const getRun = () => run;

/** Whether another tab runs it. It may have been closed. */
export const runsElsewhere = () => run?.state === "running" && !running;

/** Call a listener after each change. Returns a function that ends this. */
export function onRun(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Begin a benchmark. It takes the place of the one before. */
export function start(plan) {
  run = { ...plan, created: Date.now(), state: "stopped", tasks: tasksOf(plan).map((task) => ({ ...task, state: "planned" })) };
  proceed();
}

/** Go on with the tasks that are not done. Those that failed are sent again. */
export function proceed() {
  if (running) {
    if (run.state !== "running") running.then(() => run && proceed()); // it is still stopping
    return;
  }
  sessionStorage.setItem(TAB, String(run.created));
  delete run.error;
  run.state = "running";
  for (const task of run.tasks) if (task.state === "failed") Object.assign(task, { state: "planned", error: undefined });
  changed();
  running = work().finally(() => {
    running = null;
    changed();
  });
}

/** Stop. The task under way is cancelled, and is sent again when the benchmark goes on. */
export async function stop() {
  run.state = "stopped";
  const sent = run.tasks.find((task) => task.state === "sent");
  changed();
  if (sent) await cancelTask(sent.taskUUID).catch((error) => error.status !== 404 && Promise.reject(error));
}

/** Forget the benchmark. Its pictures stay with the server until they expire. */
export async function discard() {
  if (run.state === "running") await stop();
  await running;
  run = null;
  changed();
}

/** Go on after a reload, if this tab ran the benchmark. */
export function resume() {
  if (run?.state === "running" && sessionStorage.getItem(TAB) === String(run.created)) proceed();
}

async function work() {
  const own = run;
  try {
    for (const task of own.tasks) {
      if (own.state !== "running") return;
      if (task.state !== "done") await measure(own, task);
    }
    if (own.state === "running") own.state = "done";
  } catch (error) {
    Object.assign(own, { state: "stopped", error: describe(error) });
  }
}

/** Render a task, and note its seconds and its likeness. */
async function measure(own, task) {
  if (task.state !== "sent") Object.assign(task, { state: "sent", taskUUID: newUUID(), accepted: false });
  changed();
  if (!task.accepted) await submitTask(wireTask(own, task, task.taskUUID), { again: true });
  task.accepted = true;
  changed();
  await watchTask(task.taskUUID, (name, data) => {
    if (name === "step") changed({ ...data, queued: false });
    else if (name === "queued") changed({ queued: true });
  });
  const details = await taskDetails(task.taskUUID);
  if (details.state === "cancelled" && own.state !== "running") task.state = "planned";
  else if (details.state !== "done") {
    task.state = "failed";
    throw new Error(details.response.errors?.[0]?.message ?? details.state);
  } else await takeResult(own, task, details);
  changed();
}

async function takeResult(own, task, { response, timings, cache, request: [sent] }) {
  const [item] = response.data ?? [];
  if (!item) throw new Error(response.errors?.[0]?.message ?? "");
  const steps = task.change.steps ?? sent.steps;
  Object.assign(task, {
    seconds: timings.busy[0],
    steps,
    reused: cache?.[0]?.reusedSteps ?? 0,
    imageUUID: item.imageUUID,
    imageURL: item.imageURL,
  });
  const reference = own.tasks.find((one) => one.setting === REFERENCE && one.prompt === task.prompt && one.state === "done");
  // The rounds of a task give the same picture, so the first one is compared; of the reference, the second with the first.
  if (task.kind === "measured" && task.round === (task.setting === REFERENCE ? 1 : 0)) task.likeness = await compare(task, reference);
  Object.assign(task, { state: "done", ended: Date.now() });
}

async function compare(task, reference) {
  try {
    return await likeness(...(await Promise.all([task, reference].map((one) => pixelsOf(imageAddress(one.imageURL))))));
  } catch (error) {
    if (error.status !== 404) throw error;
    Object.assign(reference, { state: "planned" }); // both are rendered anew when the benchmark goes on
    Object.assign(task, { state: "planned" });
    throw new Error(t("benchmark.expired"));
  }
}

/** Keep and tell. `progress` is how far the task under way is. */
function changed(progress = null) {
  if (!progress) {
    if (run) localStorage.setItem(STORED, JSON.stringify(run));
    else localStorage.removeItem(STORED);
  }
  for (const listener of listeners) listener(progress);
}

// Another tab may run it, or have begun another one.
addEventListener("storage", ({ key }) => {
  if (key !== STORED || running) return;
  run = load();
  for (const listener of listeners) listener(null);
});

function load() {
  return JSON.parse(localStorage.getItem(STORED) ?? "null");
}
