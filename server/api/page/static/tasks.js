// The tasks that this page has sent: how far each one is, its pictures, its error. They survive a reload of the page
// and a restart of the server.

import { ApiError, cancelTask, describe, imageFile, newUUID, sendTasks, submitTask, taskDetails, watchTask } from "./api.js";

const STORED = "ownware.tasks";
const MOST_KEPT = 100;
// A browser opens six connections to a server. More tasks than these are asked for in turns, all in one request.
const MOST_STREAMS = 3;
const POLL_MILLISECONDS = 3000;
const listeners = new Set();
const streams = new Set();
const tasks = new Map(load().map((entry) => [entry.taskUUID, entry]));
let polling = 0;

/**
 * All tasks, the latest first. An entry has `taskUUID`, the `task` as sent, and its `state`: `sending`, `queued`,
 * `loading`, `rendering`, `done`, `failed` or `cancelled`. `place` is `{position, seconds}` of one that waits. `steps`
 * has for each picture one letter a step: `C` computed, `R` reused. `total` are the steps of a picture. `preview` is a
 * data URI. `results` are the items that the server has answered. `error` is a sentence, `code` the error's name. When
 * it is done, `details` are the `seconds` of rendering, the `timings`, `warnings` and `cache` reports of `getTaskDetails`.
 */
export const allTasks = () => [...tasks.values()].reverse();
/** All finished pictures in the order of `allTasks`: `{entry, item, file}`, with the name of the image's file. */
export const allPictures = () =>
  allTasks().flatMap((entry) => entry.results.filter((item) => item.imageURL).map((item) => ({ entry, item, file: imageFile(item.imageURL) })));
export const isOpen = (entry) => ["sending", "queued", "loading", "rendering"].includes(entry.state);

/** Call `listener(entry, change)` after each change; `change` is `new`, `accepted`, `progress`, `result`, `end`, `details` or `removed`. */
export function onTasks(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Send a task and follow it. Returns its entry at once. */
export function runTask(task) {
  const entry = { taskUUID: newUUID(), task, state: "sending", created: Date.now(), steps: [], results: [] };
  tasks.set(entry.taskUUID, entry);
  for (const old of allTasks().slice(MOST_KEPT)) if (!isOpen(old)) tasks.delete(old.taskUUID);
  changed(entry, "new");
  submit(entry);
  return entry;
}

/** Cancel a task that has not ended. Its events tell when it has. */
export async function cancel(entry) {
  entry.cancelling = true;
  changed(entry, "progress");
  try {
    await cancelTask(entry.taskUUID);
    if (!streams.has(entry.taskUUID)) await poll();
  } finally {
    delete entry.cancelling;
    changed(entry, "progress");
  }
}

/** Take an ended task off the list. */
export function forget(entry) {
  tasks.delete(entry.taskUUID);
  changed(entry, "removed");
}

/** Follow the tasks again that were open when the page was left. */
export function resumeTasks() {
  for (const entry of tasks.values()) if (entry.state === "sending") submit(entry, { again: true });
  followMore();
}

async function submit(entry, { again = false } = {}) {
  try {
    await submitTask({ taskType: "imageInference", taskUUID: entry.taskUUID, ...entry.task }, { again });
    if (entry.state === "sending") entry.state = "queued";
    changed(entry, "accepted");
    followMore();
  } catch (error) {
    fail(entry, error);
  }
}

/** Give each free stream the oldest task without one, and ask for the others in turns. */
function followMore() {
  const open = [...tasks.values()].filter((entry) => isOpen(entry) && entry.state !== "sending");
  for (const entry of open) {
    if (streams.size >= MOST_STREAMS) break;
    if (!streams.has(entry.taskUUID)) follow(entry);
  }
  if (open.length > streams.size && !polling) polling = setTimeout(pollAgain, POLL_MILLISECONDS);
}

async function follow(entry) {
  streams.add(entry.taskUUID);
  entry.results = [];
  try {
    await watchTask(entry.taskUUID, (name, data) => take(entry, name, data));
    if (isOpen(entry)) end(entry, "done");
  } catch (error) {
    fail(entry, error);
  } finally {
    streams.delete(entry.taskUUID);
    followMore();
  }
}

function take(entry, name, data) {
  if (name === "queued") Object.assign(entry, { state: "queued", place: data });
  else if (name === "loading") entry.state = "loading";
  else if (name === "step") takeStep(entry, data);
  else if (name === "preview") entry.preview = data.imageDataURI;
  else if (name === "result") entry.results.push(data);
  else if (name === "end") {
    if (data.error) Object.assign(entry, { error: data.error.message, code: data.error.code });
    end(entry, data.state);
    return;
  }
  changed(entry, name === "result" ? "result" : "progress");
}

/** A slow connection misses steps: they count as computed, which is the careful guess. */
function takeStep(entry, { index, step, steps, reused }) {
  entry.state = "rendering";
  entry.total = steps;
  entry.began ??= { at: performance.now(), done: index * steps + step };
  // All steps of the pictures before this one are done.
  for (let before = 0; before < index; before += 1) entry.steps[before] = (entry.steps[before] ?? "").padEnd(steps, "C");
  const known = entry.steps[index] ?? "";
  entry.steps[index] = known.slice(0, step - 1).padEnd(step - 1, "C") + (reused ? "R" : "C");
}

/** The seconds until a task ends: as the server foresees them while it waits, later by the pace of its steps. */
export function secondsLeft(entry) {
  if (entry.state === "queued") return entry.place?.seconds;
  if (entry.state !== "rendering" || !entry.began) return undefined;
  const done = entry.steps.reduce((sum, steps) => sum + steps.length, 0) - entry.began.done;
  const whole = entry.total * (entry.task.numberResults ?? 1) - entry.began.done;
  return done > 0 ? ((performance.now() - entry.began.at) / 1000 / done) * (whole - done) : undefined;
}

async function pollAgain() {
  await poll().catch(() => {}); // the banner says that the server does not answer
  polling = 0;
  followMore();
}

/** Ask for all tasks without a stream at once. */
async function poll() {
  const silent = [...tasks.values()].filter((entry) => isOpen(entry) && entry.state !== "sending" && !streams.has(entry.taskUUID));
  if (!silent.length) return;
  const asked = silent.map(({ taskUUID }) => ({ taskType: "getTaskDetails", taskUUID }));
  const { data, errors } = await sendTasks(asked).catch((error) => {
    if (error instanceof ApiError) return { data: [], errors: error.errors };
    throw error;
  });
  for (const details of data) takeDetails(tasks.get(details.taskUUID), details);
  for (const error of errors) {
    const entry = tasks.get(error.taskUUID);
    if (entry) fail(entry, new ApiError(404, [error]));
  }
}

/** How a task stands by `getTaskDetails`. Its stream knows more, if it has got one meanwhile. */
function takeDetails(entry, { state, estimate, response, request: [task] }) {
  if (!entry || !isOpen(entry) || streams.has(entry.taskUUID)) return;
  entry.results = (response.data ?? []).map((item) => ({ ...item, taskUUID: entry.taskUUID, taskType: task.taskType }));
  const error = response.errors?.[0];
  if (error) Object.assign(entry, { error: error.message, code: error.code, parameter: error.parameter });
  if (["done", "failed", "cancelled"].includes(state)) end(entry, state);
  else if (state === "queued") Object.assign(entry, { state, place: estimate && { position: estimate.position, seconds: estimate.ends } });
  else entry.state = "rendering";
  if (isOpen(entry)) changed(entry, "progress");
}

function end(entry, state) {
  entry.state = state;
  delete entry.preview;
  delete entry.place;
  changed(entry, "end");
  if (state === "done") addDetails(entry).catch(() => {}); // the pictures are there, and only a remark is missing
}

async function addDetails(entry) {
  const details = await taskDetails(entry.taskUUID);
  const seconds = details.timings.render.reduce((sum, one) => sum + one, 0);
  entry.details = { seconds, timings: details.timings, warnings: details.warnings ?? [], cache: details.cache ?? [] };
  changed(entry, "details");
}

function fail(entry, error) {
  entry.error = error instanceof ApiError ? error.message : describe(error);
  entry.code = error.code;
  entry.parameter = error.parameter;
  end(entry, error.code === "taskCancelled" ? "cancelled" : "failed");
}

function changed(entry, change) {
  if (change !== "progress") save();
  for (const listener of listeners) listener(entry, change);
}

function save() {
  const kept = [...tasks.values()].map(({ preview, began, cancelling, ...entry }) => entry);
  sessionStorage.setItem(STORED, JSON.stringify(kept));
}

function load() {
  return JSON.parse(sessionStorage.getItem(STORED) ?? "[]");
}
