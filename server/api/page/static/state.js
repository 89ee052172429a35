// The draft: the members of an imageInference task that the user has filled in. It stands in the address of `#/make`,
// so that a link repeats the task, and a reload keeps it. Members that are not filled are left to the server.

import { exact } from "./exact.js";

const STORED = "ownware.draft";
const WRITE_MILLISECONDS = 250; // browsers bound how often a page changes its address
const listeners = new Set();
let draft = read(sessionStorage.getItem(STORED) ?? "");
let timer = 0;

/** The draft. Nobody changes it but by `setMember` and `replaceDraft`. */
export const getDraft = () => draft;

/** The member at a path such as `inputs.strength`, or undefined. */
export const member = (path, task = draft) => path.split(".").reduce((part, name) => part?.[name], task);

/** Fill a member in, or with `undefined` leave it to the server. Empty lists and objects are left out too. */
export function setMember(path, value) {
  draft = withMember(draft, path.split("."), value);
  publish();
}

/** Replace the whole draft, for example with an earlier task. Names that no draft has are dropped. */
export function replaceDraft(task) {
  draft = draftPart(structuredClone(task));
  publish();
}

/** The members of a task that a draft has: those of the picture, not of its delivery. */
export const draftPart = (task) => Object.fromEntries(Object.entries(task).filter(([name]) => !NOT_OF_A_DRAFT.has(name)));

/** Call a listener after each change. Returns a function that ends this. */
export function onDraft(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** The parameters of the address that stand for a draft: plain texts and numbers, and JSON for all else. */
function toQuery(task) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(task)) query.set(name, typeof value === "string" && !isJson(value) ? value : JSON.stringify(value));
  return query.toString();
}

/** The draft of the address's parameters. */
export function read(query) {
  const task = {};
  for (const [name, text] of new URLSearchParams(query)) task[name] = isJson(text) ? readMember(name, text) : text;
  return task;
}

/** A member of the address that reads as JSON. */
function readMember(name, text) {
  return name === "seed" && /^\d+$/.test(text) ? exact(text) : JSON.parse(text);
}

/** The address of `#/make` with a draft. */
export const draftAddress = (task) => `#/make${Object.keys(task).length ? `?${toQuery(task)}` : ""}`;

/** Go to the form, which has the draft. */
export function showForm() {
  location.hash = draftAddress(draft);
}

const NOT_OF_A_DRAFT = new Set(["taskType", "taskUUID", "deliveryMethod", "outputType", "includeCost", "webhookURL", "uploadEndpoint"]);

function publish() {
  sessionStorage.setItem(STORED, toQuery(draft));
  clearTimeout(timer);
  timer = setTimeout(writeAddress, WRITE_MILLISECONDS);
  for (const listener of listeners) listener(draft);
}

/** Write the draft into the address now. */
export function writeAddress() {
  clearTimeout(timer);
  if (location.hash.startsWith("#/make") || location.hash === "") history.replaceState(null, "", draftAddress(draft));
}

function withMember(task, [name, ...rest], value) {
  const copy = { ...task };
  const changed = rest.length ? withMember(task?.[name] ?? {}, rest, value) : value;
  if (isEmpty(changed)) delete copy[name];
  else copy[name] = changed;
  return copy;
}

const isEmpty = (value) =>
  value === undefined || value === "" || (value !== null && typeof value === "object" && Object.keys(value).length === 0);

/** Whether a text reads as JSON. A prompt that does, such as `42`, is written as a JSON string. */
function isJson(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
