// The client of the public API: sends tasks with the user's key, follows their events, and goes on after a restart.

import { parseJson, withNumbers } from "./exact.js";
import { t } from "./i18n.js";

const STORED_KEY = "ownware.key";
const RETRY_MILLISECONDS = [500, 1000, 2000, 4000];
const events = new EventTarget();
let connected = true;

/** A refusal of the server, with the members of its error object. `errors` are all that it found. */
export class ApiError extends Error {
  constructor(status, errors) {
    super(errors[0].message);
    this.status = status;
    this.code = errors[0].code;
    this.parameter = errors[0].parameter;
    this.errors = errors;
  }
}

/** The server cannot be reached: it restarts, or the network is gone. */
class ConnectionLost extends Error {
  constructor() {
    super(t("error.lost"));
  }
}

/**
 * Listen to `key` (a key is needed or changed; `detail.refused`), or to `connection` (`detail.connected`). Returns a
 * function that ends this.
 */
export function onApi(name, listener) {
  events.addEventListener(name, listener);
  return () => events.removeEventListener(name, listener);
}

export const isConnected = () => connected;

export const getKey = () => sessionStorage.getItem(STORED_KEY) ?? localStorage.getItem(STORED_KEY) ?? "";

/** Use a key from now on: in this tab only, or on this device. */
export function setKey(key, { remember = false } = {}) {
  sessionStorage.setItem(STORED_KEY, key);
  if (remember) localStorage.setItem(STORED_KEY, key);
  else localStorage.removeItem(STORED_KEY);
  events.dispatchEvent(new CustomEvent("key", { detail: { changed: true } }));
}

/** The address of a path of this server, also behind a proxy that serves it under a folder. */
export const address = (path) => new URL(path, document.baseURI).href;

/** The address of an image as this page reaches it, from the URL of a result or from its file's name. */
export const imageAddress = (url) => address(`image/${imageFile(url)}`);

/** The name of an image's file, such as `<uuid>.jpg`. */
export const imageFile = (url) => new URL(url, document.baseURI).pathname.split("/").at(-1);

/** The UUID of an image, from its URL or from its file's name. */
export const imageUUID = (url) => imageFile(url).split(".")[0];

/** The address of the thumbnail of an image, as this page reaches it. */
export const thumbnailAddress = ({ imageUUID }) => address(`image/${imageUUID}/thumbnail.webp`);

export const newUUID = () => {
  // `crypto.randomUUID` exists on https and localhost only, and a box at home is neither.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const text = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return text.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
};

/** Ask a path. Returns the response; throws `ApiError` or `ConnectionLost`. */
export async function request(path, { headers = {}, ...options } = {}) {
  const key = getKey();
  const authorization = key ? { Authorization: `Bearer ${key}` } : {};
  let response;
  try {
    response = await fetch(address(path), { ...options, headers: { ...authorization, ...headers } });
  } catch {
    setConnected(false);
    throw new ConnectionLost();
  }
  setConnected(true);
  if (response.ok) return response;
  const refusal = await readRefusal(response);
  if (response.status === 401) events.dispatchEvent(new CustomEvent("key", { detail: { refused: key !== "" } }));
  throw refusal;
}

/** What a path answers as JSON. */
export async function getJson(path, options = {}) {
  return parseJson(await (await request(path, options)).text());
}

/** Send tasks in one request. Returns `{data, errors}`; an error of one task throws only when all have failed. */
export async function sendTasks(tasks) {
  const named = tasks.map((task) => ({ taskUUID: newUUID(), ...task }));
  const body = withNumbers(JSON.stringify(named));
  const headers = { "Content-Type": "application/json" };
  const answer = await getJson("v1", { method: "POST", headers, body });
  return { data: answer.data ?? [], errors: answer.errors ?? [] };
}

/** Send one task. Returns its items. */
export async function sendTask(task) {
  return (await sendTasks([task])).data;
}

/** Send a task until the server has accepted it. `again` says that it may have been sent before. */
export async function submitTask(task, { again = false } = {}) {
  for (let tries = 0; ; tries += 1) {
    try {
      await sendTask({ ...task, deliveryMethod: "async" });
      return;
    } catch (error) {
      if ((again || tries > 0) && error.code === "conflictTaskUUID") return;
      if (!(error instanceof ConnectionLost)) throw error;
      await pause(tries);
    }
  }
}

/**
 * Follow a task to its end: `listen(name, data)` gets each event. Reconnects after a break, and gets each result once.
 * Throws `ApiError` when the server does not know the task.
 */
export async function watchTask(taskUUID, listen) {
  let lastId = "";
  for (let tries = 0; ; tries += 1) {
    try {
      const headers = lastId ? { "Last-Event-ID": lastId } : {};
      const response = await request(`v1/tasks/${taskUUID}/events`, { headers });
      if (response.status === 204) return;
      for await (const event of readEvents(response.body)) {
        tries = 0;
        lastId = event.id || lastId;
        listen(event.name, event.data);
        if (event.name === "end") return;
      }
    } catch (error) {
      if (error instanceof ApiError && error.status !== 503) throw error;
    }
    await pause(tries);
  }
}

/** Cancel a task. Returns `cancelled`, or `ended` if it had ended by itself. */
export async function cancelTask(taskUUID) {
  return (await getJson(`v1/tasks/${taskUUID}`, { method: "DELETE" })).status;
}

/** What `getTaskDetails` answers about a task. */
export async function taskDetails(taskUUID) {
  const [details] = await sendTask({ taskType: "getTaskDetails", taskUUID });
  return details;
}

/** What `/v1/receipts` answers about an image, or null: it has expired, the receipt is forgotten, or it never had one. */
export async function getReceipt(imageUUID) {
  try {
    return await getJson(`v1/receipts/${imageUUID}`);
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}

/** A page of the finished images of this key. Members of the query that are empty are left out. */
export function listImages(query) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return getJson(`v1/images?${new URLSearchParams(given)}`);
}

/** Delete a finished image. One that is gone already counts as deleted. */
export async function deleteImage(imageUUID) {
  try {
    await request(`v1/images/${imageUUID}`, { method: "DELETE" });
  } catch (error) {
    if (error.status !== 404) throw error;
  }
}

/** A file's bytes as a data URI. */
export function dataUri(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

/** The sentence that tells a user about an error. */
export function describe(error) {
  return error instanceof ApiError ? t("error.code", { message: error.message, code: error.code }) : error.message;
}

/** Try again until the server answers. The page then goes on by itself. */
async function reconnect() {
  for (let tries = 0; !connected; tries += 1) {
    await pause(tries);
    await request("healthz").catch(() => {});
  }
}

function setConnected(value) {
  if (value === connected) return;
  connected = value;
  events.dispatchEvent(new CustomEvent("connection", { detail: { connected } }));
  if (!connected) reconnect();
}

function pause(tries) {
  const milliseconds = RETRY_MILLISECONDS[Math.min(tries, RETRY_MILLISECONDS.length - 1)];
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

async function readRefusal(response) {
  const body = await response.json().catch(() => ({}));
  const errors = body.errors ?? (body.error ? [body.error] : []);
  const unreadable = { code: "unreadable", message: t("error.unreadable", { status: response.status }) };
  return new ApiError(response.status, errors.length ? errors : [unreadable]);
}

/**
 * Throw an error in words for a file that is no picture, or too large for a request of `most` bytes. The server's
 * formats may be unknown to this browser, so only the type's first word counts.
 */
export function checkPicture(blob, name, most) {
  const known = blob.type.startsWith("image/") || /\.(heic|heif|avif|tiff?)$/i.test(name);
  if (!known) throw new Error(t("error.noPicture", { name }));
  const megabytes = (bytes) => Math.floor(bytes / 1e5) / 10;
  const room = (most * 3) / 4 - 1000; // base64 writes three bytes as four letters
  if (blob.size > room) {
    throw new Error(t("error.tooLarge", { name, size: megabytes(blob.size), most: megabytes(room) }));
  }
}

/** The server-sent events of a stream of bytes. https://html.spec.whatwg.org/#event-stream-interpretation */
async function* readEvents(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const blocks = (text + value).split("\n\n");
      text = blocks.pop();
      for (const block of blocks) {
        const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: ?(.*)/s)));
        if (fields.data) yield { name: fields.event, data: parseJson(fields.data), id: fields.id };
      }
    }
  } finally {
    reader.cancel().catch(() => {}); // it may have broken already
  }
}
