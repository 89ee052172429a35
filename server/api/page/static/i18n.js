// The words of the page in the chosen language. Each file of `words/` has its English and its Chinese side by side.

import { words as benchmark } from "./words/benchmark.js";
import { words as form } from "./words/form.js";
import { words as gallery } from "./words/gallery.js";
import { words as make } from "./words/make.js";
import { words as mask } from "./words/mask.js";
import { words as server } from "./words/server.js";
import { words as shell } from "./words/shell.js";
import { words as viewer } from "./words/viewer.js";

const FILES = [shell, make, form, gallery, mask, benchmark, server, viewer];
export const LANGUAGES = { en: "English", zh: "中文" };
const STORED = "ownware.language";
const listeners = new Set();

let language = localStorage.getItem(STORED) ?? (navigator.language.startsWith("zh") ? "zh" : "en");
let texts = all(language);
document.documentElement.lang = language;

/** The text of a key, such as `t("make.run")` or `t("tasks.left", {seconds: 3})`. A key without text is a bug. */
export function t(key, values = {}) {
  const text = texts[key];
  if (text === undefined) throw new Error(`no text for ${key}`);
  return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

/** All texts of a language by their keys. */
export function all(name) {
  return Object.assign({}, ...FILES.map((file) => file[name]));
}

export const currentLanguage = () => language;

export function setLanguage(name) {
  language = name;
  texts = all(name);
  localStorage.setItem(STORED, name);
  document.documentElement.lang = name;
  for (const listener of listeners) listener();
}

export const onLanguage = (listener) => listeners.add(listener);

/** A number as people write it, such as `1,024` or `3.5`. */
export const number = (value, digits = 0) =>
  new Intl.NumberFormat(language, { maximumFractionDigits: digits }).format(value);

/** A number with all of its digits, such as `0.9900`. */
export const fixed = (value, digits) => new Intl.NumberFormat(language, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);

/** A moment in seconds since the epoch. `style` says how much of it is written. */
export const dateTime = (seconds, style = "short") => new Intl.DateTimeFormat(language, { dateStyle: style, timeStyle: style }).format(seconds * 1000);

/** A duration in words, such as `12 s` or `3 min`. */
export function duration(seconds) {
  if (seconds < 10) return `${number(seconds, 1)} s`;
  if (seconds < 120) return `${number(seconds)} s`;
  if (seconds < 7200) return `${number(seconds / 60)} min`;
  return `${number(seconds / 3600, 1)} h`;
}
