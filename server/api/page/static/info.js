// What this server has to offer: models with their defaults, LoRAs, ControlNets and limits. Asked for once a key.

import { getJson, onApi } from "./api.js";

/** The pixels of a picture that are one token of the model. */
export const PIXELS_OF_A_TOKEN = 256;
const listeners = new Set();
let asked = null;
let info = null;

/** The answer of `GET /v1/server`, or null while it has not come. */
export const getInfo = () => info;

/** Call a listener when the answer comes or changes. Returns a function that ends this. */
export function onInfo(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Ask the server, if that has not been done yet. Throws what `getJson` throws. */
export function loadInfo({ again = false } = {}) {
  if (again || !asked) {
    asked = getJson("v1/server").then(take);
    asked.catch(() => (asked = null));
  }
  return asked;
}

/** The model that a draft names, by identifier or slug; without a name the first one. */
export function modelOf(task) {
  const models = info?.models ?? [];
  const name = task.model?.toLowerCase();
  return name ? models.find((model) => [model.air, ...model.slugs].some((one) => one.toLowerCase() === name)) : models[0];
}

/** What people call a model or an adapter. Some names have the version already. */
export const titleOf = ({ name, version }) => (name.includes(version) ? name : `${name} ${version}`);

function take(answer) {
  info = answer;
  for (const listener of listeners) listener();
  return info;
}

onApi("key", ({ detail }) => detail.changed && loadInfo({ again: true }).catch(() => {}));
onApi("connection", ({ detail }) => detail.connected && loadInfo({ again: true }).catch(() => {}));
