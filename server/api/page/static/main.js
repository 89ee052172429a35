// Starts the page: the header, the router over `#/view?parameters`, the key, and the messages to the user.

import { getKey, isConnected, onApi, setKey } from "./api.js";
import { resume } from "./benchmark/runner.js";
import { h, iconButton, replace, showDialog } from "./dom.js";
import { LANGUAGES, currentLanguage, onLanguage, setLanguage, t } from "./i18n.js";
import { writeAddress } from "./state.js";
import { resumeTasks } from "./tasks.js";
import { benchmarkView } from "./views/benchmark.js";
import { galleryView } from "./views/gallery.js";
import { makeView } from "./views/make.js";
import { pictureView } from "./views/picture.js";
import { serverView } from "./views/server.js";

/** The views by their name in the address. Each is a function `(container, parameters) → close`. */
const VIEWS = { make: makeView, gallery: galleryView, benchmark: benchmarkView, server: serverView, picture: pictureView };
/** The views that a picture or a link leads to, not the navigation. */
const UNLISTED = new Set(["picture"]);

const element = (id) => document.getElementById(id);
let close = null;

function showView({ focus = true } = {}) {
  const [, name, query = ""] = location.hash.match(/^#\/(\w+)\??(.*)$/s) ?? [];
  const view = VIEWS[name] ? name : Object.keys(VIEWS)[0];
  close?.();
  const container = h("div", { class: `view ${view}` });
  replace(element("main"), container);
  close = VIEWS[view](container, new URLSearchParams(query));
  showNavigation(view);
  document.title = `${t(`nav.${view}`)} · Ownware`;
  if (focus) element("main").focus({ preventScroll: true });
}

/** Show the same view with other words or another key. What was written last may not be in the address yet. */
function showAgain() {
  writeAddress();
  showView({ focus: false });
}

function showNavigation(current) {
  element("nav").setAttribute("aria-label", t("nav.label"));
  const links = Object.keys(VIEWS).filter((name) => !UNLISTED.has(name)).map((name) =>
    h("a", { href: `#/${name}`, "aria-current": name === current ? "page" : null }, t(`nav.${name}`)),
  );
  replace(element("nav"), links);
}

function showTools() {
  const dark = isDark();
  const other = Object.keys(LANGUAGES).find((name) => name !== currentLanguage());
  replace(
    element("tools"),
    h("button", { class: "quiet", lang: other, title: t("shell.language"), onclick: () => setLanguage(other) }, LANGUAGES[other]),
    iconButton(dark ? "sun" : "moon", t(dark ? "shell.light" : "shell.dark"), () => setTheme(dark ? "light" : "dark")),
    iconButton("key", t("shell.key"), () => askForKey(false)),
  );
  element("skip").textContent = t("shell.skip");
}

const isDark = () =>
  (document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";

function setTheme(name) {
  document.documentElement.dataset.theme = name;
  localStorage.setItem("ownware.theme", name);
  showTools();
}

function showConnection() {
  replace(element("banner"), isConnected() ? null : t("shell.lost"));
}

/** Ask for the key. `refused` says that the one in use is wrong. One dialog at a time. */
function askForKey(refused) {
  if (document.querySelector("dialog.key")) return;
  const input = h("input", { id: "key", type: "password", autocomplete: "off", value: getKey(), required: true });
  const remember = h("input", { type: "checkbox", checked: localStorage.getItem("ownware.key") !== null });
  const form = h(
    "form",
    { method: "dialog", onsubmit: () => setKey(input.value.trim(), { remember: remember.checked }) },
    h("h2", { id: "key-title" }, t("key.title")),
    h("p", { class: refused ? "bad" : "muted" }, t(refused ? "key.refused" : "key.why")),
    h("label", { for: "key" }, t("key.label")),
    input,
    h("label", { class: "check" }, remember, t("key.keep")),
    h("div", { class: "actions" }, h("button", { type: "button", onclick: () => dialog.close() }, t("shell.cancel")), h("button", { class: "primary" }, t("key.save"))),
  );
  const dialog = h("dialog", { class: "key", "aria-labelledby": "key-title" }, form);
  showDialog(dialog);
  input.select();
}

onApi("key", ({ detail }) => (detail.changed ? showAgain() : askForKey(detail.refused)));
onApi("connection", showConnection);
onLanguage(() => (showTools(), showAgain(), showConnection()));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showTools);
addEventListener("hashchange", () => showView());
element("skip").addEventListener("click", (event) => (event.preventDefault(), element("main").focus()));
showTools();
showView({ focus: false });
resumeTasks();
resume();
